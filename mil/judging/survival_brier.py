"""How far predicted survival is from what happened: the Brier score, weighed against censoring (Graf 1999).

The reference knows no score: it gives every case the Kaplan-Meier curve. A score that does not beat it says nothing of
when, however well it ranks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mil.judging.survival_outcomes import Outcomes
from mil.judging.survival_product_limit import Steps


@dataclass(frozen=True, eq=False)
class Brier:
    """Errors at the times of a grid."""

    grid: NDArray[np.float64]
    """Times [G]."""
    score: NDArray[np.float64]
    """Of the predicted curves [W, G]."""
    reference: NDArray[np.float64]
    """Of the Kaplan-Meier curve [W, G]."""

    def integrated(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean over the time of the grid, by trapezia.

        Returns:
            Of the score [W] and of the reference [W].
        """
        return _mean(self.score, self.grid), _mean(self.reference, self.grid)


def brier(
    weights: NDArray[np.float64],
    outcomes: Outcomes,
    survival: NDArray[np.float64],
    grid: NDArray[np.float64],
    *,
    uncensored: Steps,
    everyone: Steps,
) -> Brier:
    """Compare predicted curves, and the curve of everyone, with what happened (Stat Med 1999, 18:2529).

    Args:
        weights: Of the cases [W, n].
        outcomes: The cases.
        survival: Predicted [n, G].
        grid: Times [G].
        uncensored: G, one curve or one a weighting.
        everyone: The Kaplan-Meier curve of the reference, likewise.

    Returns:
        The errors; NaN at times by which everybody is censored.
    """
    died = outcomes.events[:, None] & (outcomes.times[:, None] <= grid)
    alive = outcomes.times[:, None] > grid
    before, then = uncensored.before(outcomes.times), uncensored.at(grid)
    dead_weight = np.divide(
        weights, before, out=np.zeros_like(weights), where=np.broadcast_to(before > 0, weights.shape)
    )
    then = np.where(then > 0, then, np.nan)
    total = weights.sum(axis=1, keepdims=True)
    score = dead_weight @ (died * survival**2) + (weights @ (alive * (1 - survival) ** 2)) / then
    flat = everyone.at(grid)
    reference = (dead_weight @ died) * flat**2 + (weights @ alive) / then * (1 - flat) ** 2
    return Brier(grid, score / total, reference / total)


def _mean(values: NDArray[np.float64], grid: NDArray[np.float64]) -> NDArray[np.float64]:
    if len(grid) == 1:
        return values[:, 0]
    return np.asarray(np.trapezoid(values, grid, axis=1) / (grid[-1] - grid[0]), np.float64)
