"""Yes or no: one logit, binary cross-entropy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mil.errors import LabelError
from mil.tasks.task import Kind, Task


@dataclass(frozen=True)
class Binary(Task):
    """One column, some of whose texts are positive and some negative."""

    column: str = "label"
    positive: tuple[str, ...] = ("1",)
    negative: tuple[str, ...] = ("0",)
    kind: ClassVar[Kind] = "binary"

    @property
    def columns(self) -> tuple[str, ...]:
        """The one column."""
        return (self.column,)

    @property
    def outputs(self) -> int:
        """One logit."""
        return 1

    @property
    def width(self) -> int:
        """One number: 0 or 1."""
        return 1

    @property
    def classes(self) -> tuple[str, ...]:
        """The positive class alone."""
        return ("positive",)

    def targets(self, table: Mapping[str, Sequence[str]]) -> NDArray[np.float32]:
        """Read 1, 0 or not known.

        Args:
            table: Column -> texts.

        Returns:
            [cases, 1].

        Raises:
            LabelError: A text is neither positive nor negative; names its row.
        """
        meaning = {"": np.nan} | dict.fromkeys(self.negative, 0.0) | dict.fromkeys(self.positive, 1.0)
        for row, text in enumerate(table[self.column]):
            if text not in meaning:
                raise LabelError(f"Row {row + 1}: the text in column {self.column} is no label of this task.")
        return np.array([[meaning[text]] for text in table[self.column]], np.float32).reshape(-1, 1)

    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Binary cross-entropy.

        Args:
            logits: [B, 1].
            targets: [B, 1].

        Returns:
            [B].
        """
        known = self.known(targets)
        truth = torch.where(known, targets[:, 0], 0.0)
        each = functional.binary_cross_entropy_with_logits(logits[:, 0].float(), truth, reduction="none")
        return torch.where(known, each, 0.0)

    def strata(self, targets: NDArray[np.float32]) -> NDArray[np.int64]:
        """The class.

        Args:
            targets: [cases, 1].

        Returns:
            0, 1 or -1 [cases].
        """
        return np.nan_to_num(targets[:, 0], nan=-1.0).astype(np.int64)

    def one_hot(self, targets: Tensor) -> Tensor:
        """True where positive.

        Args:
            targets: [B, 1].

        Returns:
            bool [B, 1].
        """
        return targets == 1

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Logistic function.

        Args:
            logits: [cases, 1].

        Returns:
            [cases, 1].
        """
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logits.astype(np.float64), -500, 500))))

    def score(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """The logit.

        Args:
            logits: [cases, 1].

        Returns:
            [cases].
        """
        return logits[:, 0].astype(np.float64)
