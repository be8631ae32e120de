"""Survival that was predicted, at any time: read off a grid, or made of a log hazard ratio by Breslow's baseline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mil.errors import MetricError
from mil.judging.survival_outcomes import Outcomes

Predicted = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Times [H] -> survival of each case [n, H]."""
MOST: Final = 500.0
"""Largest exponent: exp(709) is the last that float64 holds."""


def breslow(training: Outcomes, risk: NDArray[np.float64]) -> Predicted:
    """Survival under proportional hazards (Breslow 1972, JRSS B 34:216).

    Args:
        training: Cases whose events are the baseline; their risk should be out-of-fold, or it is too sure of itself.
        risk: Log hazard ratios of the cases that are predicted [n].

    Returns:
        Their curves, which never rise.
    """
    middle = float(training.risk.mean())
    order = np.argsort(training.times, kind="stable")
    times, events = training.times[order], training.events[order]
    hazard = np.exp(np.clip(training.risk[order] - middle, -MOST, MOST))
    watched = hazard[::-1].cumsum()[::-1][np.searchsorted(times, times, side="left")]
    total = np.concatenate([[0.0], np.where(events, 1 / watched, 0.0).cumsum()])
    ratio = np.exp(np.clip(risk - middle, -MOST, MOST))
    return lambda at: np.exp(-np.outer(ratio, total[np.searchsorted(times, at, side="right")]))


def tabulated(survival: ArrayLike, grid: ArrayLike, cases: int) -> Predicted:
    """Survival that a head gave at the times of a grid, on straight lines between them and from 1 at time 0.

    Args:
        survival: [n, G].
        grid: Times [G], ascending.
        cases: Number n of cases.

    Returns:
        Their curves; after the last time they stay where they are.

    Raises:
        MetricError: The shapes do not fit, the times do not rise, or a probability is none.
    """
    table, points = np.asarray(survival, np.float64), np.asarray(grid, np.float64)
    if points.ndim != 1 or not points.size or table.shape != (cases, points.size):
        raise MetricError("Predicted survival must have one row a case and one column a time of the grid.")
    if not np.isfinite(points).all() or points[0] < 0 or (np.diff(points) <= 0).any():
        raise MetricError("The times of the grid must be zero or more and rise.")
    wrong = ~((table >= 0) & (table <= 1)).all(axis=1)
    if wrong.any():
        raise MetricError(f"Row {int(wrong.argmax()) + 1}: a predicted survival is no probability.")
    if points[0] > 0:
        points = np.concatenate([[0.0], points])
        table = np.concatenate([np.ones((cases, 1)), table], axis=1)
    return lambda at: np.stack([np.interp(at, points, row) for row in table])
