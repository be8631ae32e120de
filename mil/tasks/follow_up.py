"""What tasks of survival share: a time and whether the event happened then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mil.errors import LabelError
from mil.tasks.task import Kind, Task
from mil.tasks.texts import Table, check_groups, meanings, numbers


@dataclass(frozen=True)
class FollowUp(Task):
    """Two columns; targets are (time, 1 for an event or 0 for the end of follow-up), both NaN unless both are known."""

    time: str = "time"
    """Column of the time since the start, 0 or more, in any unit."""
    event: str = "event"
    """Column that says whether the event happened at that time."""
    happened: tuple[str, ...] = ("1", "1.0")
    """Texts that mean an event."""
    censored: tuple[str, ...] = ("0", "0.0")
    """Texts that mean that follow-up ended without one."""
    kind: ClassVar[Kind] = "survival"

    def __post_init__(self) -> None:
        check_groups((self.censored, self.happened))

    @property
    def columns(self) -> tuple[str, ...]:
        """Time and event."""
        return (self.time, self.event)

    @property
    def width(self) -> int:
        """Two numbers: time and event."""
        return 2

    @property
    def classes(self) -> tuple[str, ...]:
        """None."""
        return ()

    def targets(self, table: Table) -> NDArray[np.float32]:
        """Read times and events.

        Args:
            table: Column -> texts.

        Returns:
            [cases, 2].
        """
        times = numbers(table, self.time, 0.0)
        both = np.stack([times, meanings(table, self.event, (self.censored, self.happened))], axis=1)
        return np.where(np.isnan(both).any(axis=1, keepdims=True), np.float32(np.nan), both)

    def check(self, targets: NDArray[np.float32]) -> None:
        """See that there is an event, and somebody who was still at risk then.

        Args:
            targets: [cases, 2].

        Raises:
            LabelError: There is none.
        """
        known = targets[~np.isnan(targets).any(axis=1)]
        times = known[known[:, 1] == 1, 0]
        if not times.size or not (known[:, 0] >= times.min()).sum() > 1:
            raise LabelError(f"Column {self.event} needs an event at least, and another case still at risk then.")

    def strata(self, targets: NDArray[np.float32]) -> NDArray[np.int64]:
        """Whether the event happened.

        Args:
            targets: [cases, 2].

        Returns:
            1, 0 or -1 [cases].
        """
        return np.nan_to_num(targets[:, 1], nan=-1.0).astype(np.int64)
