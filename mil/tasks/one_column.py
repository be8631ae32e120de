"""Tasks of one column whose texts fall into groups: what binary, multiclass and ordinal have in common."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mil.tasks.decisions import Decisions
from mil.tasks.texts import Table, check_groups, meanings


@dataclass(frozen=True)
class OneColumn(Decisions):
    """The target is the number of the group, from 0."""

    column: str = "label"

    def __post_init__(self) -> None:
        check_groups(self.groups)

    @property
    @abstractmethod
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """Texts that mean 0, 1, 2 and so on."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The one column."""
        return (self.column,)

    @property
    def names(self) -> tuple[str, ...]:
        """The one column, unless it is decided in steps."""
        return (f"column {self.column}",)

    @property
    def width(self) -> int:
        """One number: the group."""
        return 1

    @property
    def classes(self) -> tuple[str, ...]:
        """The first text of each group."""
        return tuple(texts[0] for texts in self.groups)

    def targets(self, table: Table) -> NDArray[np.float32]:
        """Read the number of the group, NaN where nothing stands.

        Args:
            table: Column -> texts.

        Returns:
            [cases, 1].
        """
        return meanings(table, self.column, self.groups)[:, None]

    def truth(self, targets: Tensor) -> Tensor:
        """The group, unless it is decided in steps.

        Args:
            targets: [B, 1].

        Returns:
            int64 [B, 1]; -1 where not known.
        """
        return targets.nan_to_num(nan=-1.0).long()

    def strata(self, targets: NDArray[np.float32]) -> NDArray[np.int64]:
        """The group.

        Args:
            targets: [cases, 1].

        Returns:
            [cases]; -1 where not known.
        """
        return np.nan_to_num(targets[:, 0], nan=-1.0).astype(np.int64)
