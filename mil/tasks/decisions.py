"""Tasks that decide between classes: cross-entropy over one or several decisions, however the logits make them."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mil.errors import LabelError
from mil.tasks.task import Task


@dataclass(frozen=True)
class Decisions(Task):
    """L decisions between K classes each, so that every remedy for imbalance and noise is written once.

    Binary and multiclass have one decision, multilabel one a label, ordinal one a threshold.
    """

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """What each decision is about [L], for messages."""

    @property
    @abstractmethod
    def answers(self) -> tuple[str, ...]:
        """Names of the classes of a decision [K], for people."""

    @abstractmethod
    def log_probabilities(self, logits: Tensor) -> Tensor:
        """What the logits say of each decision.

        Args:
            logits: [B, C].

        Returns:
            Natural logarithm of the probability of each class, float32 [B, L, K].
        """

    @abstractmethod
    def truth(self, targets: Tensor) -> Tensor:
        """The true class of each decision.

        Args:
            targets: [B, T].

        Returns:
            int64 [B, L]; -1 where not known.
        """

    def known(self, targets: Tensor) -> Tensor:
        """Where one decision is known.

        Args:
            targets: [B, T].

        Returns:
            bool [B].
        """
        return (self.truth(targets) >= 0).any(dim=1)

    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy, the mean over the decisions that are known of a case.

        Args:
            logits: [B, C].
            targets: [B, T].

        Returns:
            [B].
        """
        truth = self.truth(targets)
        own = self.log_probabilities(logits).gather(2, truth.clamp(min=0)[..., None])[..., 0]  # [B, L]
        return mean_known(-own, truth >= 0)

    def check(self, targets: NDArray[np.float32]) -> None:
        """See that each decision has been decided both ways.

        Args:
            targets: [cases, T].

        Raises:
            LabelError: All known labels of a decision are of one class.
        """
        truth = self.truth(torch.from_numpy(targets)).numpy()
        for name, column in zip(self.names, truth.T, strict=True):
            if len(set(column[column >= 0].tolist())) < 2:
                raise LabelError(f"All {int((column >= 0).sum())} labels of {name} are of one class; two are needed.")


def mean_known(each: Tensor, known: Tensor) -> Tensor:
    """Average what is known of each case.

    Args:
        each: [B, L].
        known: bool [B, L].

    Returns:
        [B]; exactly 0, without a gradient, where nothing is.
    """
    return torch.where(known, each, 0.0).sum(dim=1) / known.sum(dim=1).clamp(min=1)


def two_sided(logits: Tensor) -> Tensor:
    """Logarithms of the probabilities of no and yes.

    Args:
        logits: Of yes [B, L].

    Returns:
        float32 [B, L, 2].
    """
    return torch.nn.functional.logsigmoid(torch.stack([-logits.float(), logits.float()], dim=2))


def sigmoid(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """The logistic function.

    Args:
        values: Any shape.

    Returns:
        The same shape, 0 to 1.
    """
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(values.astype(np.float64), -500, 500))))
