"""Follow-up with a score: how long each case was watched, whether the event came, and the risk that was given to it.

Times may be zero and may tie. Of an event and a censoring at the same time, the event came first, as everywhere in
survival analysis: the censored case outlived the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mil.errors import MetricError


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What is judged, or what was trained on."""

    times: NDArray[np.float64]
    """Until the event or the last contact [n], >= 0, in any unit."""
    events: NDArray[np.bool_]
    """Whether the event came [n]; False is censored."""
    risk: NDArray[np.float64]
    """Larger for an earlier event [n]; a log hazard ratio where a baseline is to be fitted to it."""

    def __len__(self) -> int:
        return len(self.times)

    @property
    def followed_until(self) -> float:
        """The time at which one case in twenty is still watched; what is estimated later rests on next to nobody."""
        return float(np.quantile(self.times, 0.95, method="lower"))


def read_outcomes(times: ArrayLike, events: ArrayLike, risk: ArrayLike) -> Outcomes:
    """Check and bring into shape.

    Args:
        times: Numbers >= 0 [n].
        events: 0 or 1 [n].
        risk: Finite numbers [n].

    Returns:
        The same, in arrays of their own types.

    Raises:
        MetricError: They differ in length, are none, or a row has what it cannot have; names the row.
    """
    columns = [np.asarray(column, np.float64) for column in (times, events, risk)]
    if any(column.ndim != 1 or column.shape != columns[0].shape for column in columns) or not columns[0].size:
        raise MetricError("Times, events and risks must be as many as each other, and at least one.")
    wrong = {
        "the time is no number that is zero or more": ~np.isfinite(columns[0]) | (columns[0] < 0),
        "the event is neither 0 nor 1": ~np.isin(columns[1], (0, 1)),
        "the risk is not finite": ~np.isfinite(columns[2]),
    }
    for what, rows in wrong.items():
        if rows.any():
            raise MetricError(f"Row {int(rows.argmax()) + 1}: {what}.")
    return Outcomes(columns[0], columns[1] == 1, columns[2])
