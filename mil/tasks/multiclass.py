"""One of several classes: one logit a class, softmax cross-entropy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mil.tasks.decisions import Decisions
from mil.tasks.task import Kind
from mil.tasks.texts import Table, check_groups, meanings


@dataclass(frozen=True)
class Multiclass(Decisions):
    """One column whose texts fall into classes without an order."""

    column: str = "label"
    labels: tuple[tuple[str, ...], ...] = (("0",), ("1",))
    """Texts of each class; the first of them is its name. In TOML a class of one text may be that text alone."""
    kind: ClassVar[Kind] = "multiclass"

    def __post_init__(self) -> None:
        check_groups(self.labels)

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
        """The classes."""
        return self.classes

    @property
    def outputs(self) -> int:
        """One logit a class."""
        return len(self.labels)

    @property
    def width(self) -> int:
        """One number: the class."""
        return 1

    @property
    def classes(self) -> tuple[str, ...]:
        """The first text of each class."""
        return tuple(texts[0] for texts in self.labels)

    def targets(self, table: Table) -> NDArray[np.float32]:
        """Read the number of the class.

        Args:
            table: Column -> texts.

        Returns:
            [cases, 1].
        """
        return meanings(table, self.column, self.labels)[:, None]

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """Of each class.

        Args:
            logits: [B, K].

        Returns:
            [B, 1, K].
        """
        return logits.float().log_softmax(dim=1)[:, None]

    def truth(self, targets: Tensor) -> Tensor:
        """The class.

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
            [cases].
        """
        return np.nan_to_num(targets[:, 0], nan=-1.0).astype(np.int64)

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
