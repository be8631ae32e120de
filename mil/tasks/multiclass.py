"""One of several classes: one logit a class, softmax cross-entropy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mil.tasks.one_column import OneColumn
from mil.tasks.task import Kind


@dataclass(frozen=True)
class Multiclass(OneColumn):
    """One column whose texts fall into classes without an order."""

    labels: tuple[tuple[str, ...], ...] = (("0",), ("1",))
    """Texts of each class; the first of them is its name. In TOML a class of one text may be that text alone."""
    kind: ClassVar[Kind] = "multiclass"

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """The classes."""
        return self.labels

    @property
    def answers(self) -> tuple[str, ...]:
        """The classes."""
        return self.classes

    @property
    def outputs(self) -> int:
        """One logit a class."""
        return len(self.labels)

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """Of each class.

        Args:
            logits: [B, K].

        Returns:
            [B, 1, K].
        """
        return logits.float().log_softmax(dim=1)[:, None]

    def one_hot(self, targets: Tensor) -> Tensor:
        """True at the class.

        Args:
            targets: [B, 1].

        Returns:
            bool [B, K].
        """
        return targets == targets.new_tensor(range(len(self.labels)))

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Softmax.

        Args:
            logits: [cases, K].

        Returns:
            [cases, K].
        """
        powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True, initial=-np.inf))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def score(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """How far the last class leads all others together: its log odds.

        Args:
            logits: [cases, K].

        Returns:
            [cases].
        """
        rest = np.logaddexp.reduce(logits[:, :-1].astype(np.float64), axis=1)
        return np.asarray(logits[:, -1] - rest)
