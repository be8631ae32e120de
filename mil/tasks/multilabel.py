"""Several questions of yes or no at once, each of which may be unanswered: one logit a label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mil.errors import ExperimentError
from mil.tasks.decisions import Decisions, sigmoid, two_sided
from mil.tasks.task import Kind
from mil.tasks.texts import Table, check_groups, meanings


@dataclass(frozen=True)
class Multilabel(Decisions):
    """One column a label; a case counts for the labels that are known of it."""

    labels: tuple[str, ...] = ("label",)
    """The columns."""
    positive: tuple[str, ...] = ("1",)
    negative: tuple[str, ...] = ("0",)
    kind: ClassVar[Kind] = "multilabel"

    def __post_init__(self) -> None:
        """Refuse labels that cannot be told apart.

        Raises:
            ExperimentError: There is none, or one stands twice.
        """
        check_groups((self.negative, self.positive))
        if not self.labels or len(set(self.labels)) < len(self.labels):
            raise ExperimentError("A multilabel task needs columns that are all different.")

    @property
    def columns(self) -> tuple[str, ...]:
        """One a label."""
        return self.labels

    @property
    def names(self) -> tuple[str, ...]:
        """The columns."""
        return tuple(f"column {name}" for name in self.labels)

    @property
    def answers(self) -> tuple[str, ...]:
        """No and yes."""
        return ("negative", "positive")

    @property
    def outputs(self) -> int:
        """One logit a label."""
        return len(self.labels)

    @property
    def width(self) -> int:
        """One number a label: 0 or 1."""
        return len(self.labels)

    @property
    def classes(self) -> tuple[str, ...]:
        """The columns, each of which speaks for its positive side."""
        return self.labels

    def targets(self, table: Table) -> NDArray[np.float32]:
        """Read 1, 0 or not known.

        Args:
            table: Column -> texts.

        Returns:
            [cases, L].
        """
        groups = (self.negative, self.positive)
        return np.stack([meanings(table, column, groups) for column in self.labels], axis=1)

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """Of no and yes.

        Args:
            logits: [B, L].

        Returns:
            [B, L, 2].
        """
        return two_sided(logits)

    def truth(self, targets: Tensor) -> Tensor:
        """0, 1 or -1.

        Args:
            targets: [B, L].

        Returns:
            int64 [B, L].
        """
        return targets.nan_to_num(nan=-1.0).long()

    def strata(self, targets: NDArray[np.float32]) -> NDArray[np.int64]:
        """The rarest label that is positive, because that is the one a split could lose.

        Args:
            targets: [cases, L].

        Returns:
            Its column from 1, 0 where none is positive, -1 where nothing is known [cases].
        """
        positive = targets == 1
        rarity = np.argsort(positive.sum(axis=0), kind="stable")  # columns, rarest first
        first = rarity[positive[:, rarity].argmax(axis=1)] + 1
        found = np.where(positive.any(axis=1), first, 0)
        return np.where(np.isnan(targets).all(axis=1), -1, found).astype(np.int64)

    def one_hot(self, targets: Tensor) -> Tensor:
        """True where positive.

        Args:
            targets: [B, L].

        Returns:
            bool [B, L].
        """
        return targets == 1

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Logistic function of each.

        Args:
            logits: [cases, L].

        Returns:
            [cases, L].
        """
        return sigmoid(logits)

    def score(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """The mean logit; a ranking by one label is that of its own column.

        Args:
            logits: [cases, L].

        Returns:
            [cases].
        """
        return np.asarray(logits.astype(np.float64).mean(axis=1))
