"""Yes or no: one logit, binary cross-entropy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mil.tasks.decisions import Decisions, sigmoid, two_sided
from mil.tasks.task import Kind
from mil.tasks.texts import Table, check_groups, meanings


@dataclass(frozen=True)
class Binary(Decisions):
    """One column, some of whose texts are positive and some negative."""

    column: str = "label"
    positive: tuple[str, ...] = ("1",)
    negative: tuple[str, ...] = ("0",)
    kind: ClassVar[Kind] = "binary"

    def __post_init__(self) -> None:
        check_groups((self.negative, self.positive))

    @property
    def columns(self) -> tuple[str, ...]:
        """The one column."""
        return (self.column,)

    @property
    def names(self) -> tuple[str, ...]:
        """The one column."""
        return (f"column {self.column}",)

    @property
    def answers(self) -> tuple[str, ...]:
        """No and yes."""
        return ("negative", "positive")

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

    def targets(self, table: Table) -> NDArray[np.float32]:
        """Read 1, 0 or not known.

        Args:
            table: Column -> texts.

        Returns:
            [cases, 1].
        """
        return meanings(table, self.column, (self.negative, self.positive))[:, None]

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """Of no and yes.

        Args:
            logits: [B, 1].

        Returns:
            [B, 1, 2].
        """
        return two_sided(logits)

    def truth(self, targets: Tensor) -> Tensor:
        """0, 1 or -1.

        Args:
            targets: [B, 1].

        Returns:
            int64 [B, 1].
        """
        return targets.nan_to_num(nan=-1.0).long()

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
        return sigmoid(logits)

    def score(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """The logit.

        Args:
            logits: [cases, 1].

        Returns:
            [cases].
        """
        return logits[:, 0].astype(np.float64)
