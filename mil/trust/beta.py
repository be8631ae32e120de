"""Beta calibration: two slopes, so that sure noes and sure yeses may be wrong by different amounts.

Kull, Silva Filho and Flach, AISTATS 2017: logit of the result = a log p - b log(1 - p) + c with a, b >= 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mil.extra import library
from mil.trust.losses import Loss, softplus


@dataclass(frozen=True)
class Beta:
    """The three numbers of the map."""

    yes: float
    """a, the slope on log p."""
    no: float
    """b, the slope on -log(1 - p)."""
    shift: float
    """c."""

    def __call__(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrate.

        Args:
            logits: [N, 1].

        Returns:
            [N, 1].
        """
        return -self.yes * softplus(-logits) + self.no * softplus(logits) + self.shift


def fit_beta(loss: Loss, logits: NDArray[np.float64]) -> Beta:
    """Find the map of least loss; with a = b = 1, c = 0 it changes nothing.

    Args:
        loss: Of these cases.
        logits: Of these cases [n, 1].

    Returns:
        The map; it never turns the order of cases.
    """
    parts = np.column_stack([-softplus(-logits[:, 0]), softplus(logits[:, 0]), np.ones(len(logits))])

    def objective(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        each, gradient = loss((parts @ values)[:, None])
        return float(each.mean()), (gradient * parts).mean(axis=0)

    bounds = [(0.0, 100.0), (0.0, 100.0), (-100.0, 100.0)]
    start = np.array([1.0, 1.0, 0.0])
    found = library("scipy.optimize").minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return Beta(*(float(value) for value in found))
