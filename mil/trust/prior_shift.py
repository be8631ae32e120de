"""Another share of positives than in training: found from scores alone, tested, and corrected only when asked.

Saerens, Latinne and Decaestecker, Neural Computation 14:21, 2002: expectation maximisation of the shares on calibrated
probabilities. It holds only where the classes look as they did and are merely more or less frequent; another scanner
breaks it and looks the same, so nothing here is ever applied unasked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mil.errors import CalibrationError
from mil.extra import library

ROUNDS, SETTLED = 1000, 1e-6
LEVEL = 0.05
"""Below this p the shift is said to be there."""


@dataclass(frozen=True)
class PriorShift:
    """Shares of the classes in training and here."""

    before: tuple[float, ...]
    after: tuple[float, ...]
    rounds: int
    converged: bool
    statistic: float
    """Twice the gain in log likelihood, chi squared with K - 1 degrees where nothing has shifted."""
    p: float

    @property
    def shifted(self) -> bool:
        """Whether the scores are unlikely under the shares of training."""
        return self.converged and self.p < LEVEL

    def adjust(self, chances: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities under the shares found; to be called only by who has seen that the shift is real.

        Args:
            chances: Calibrated under the shares of training [N, K].

        Returns:
            [N, K], each row 1 in sum.
        """
        weighted = chances * (np.array(self.after) / np.array(self.before))
        return np.asarray(weighted / weighted.sum(axis=1, keepdims=True))


def prior_shift(chances: NDArray[np.float64], before: NDArray[np.float64]) -> PriorShift:
    """Estimate the shares of the classes among unlabelled cases.

    Args:
        chances: Calibrated probabilities, each row 1 in sum [N, K].
        before: Shares of the classes where they were calibrated [K], all above 0, 1 in sum.

    Returns:
        The shares, and a likelihood ratio test of whether they differ.

    Raises:
        CalibrationError: Rows or shares are no probabilities, or there is no case.
    """
    sums = np.append(chances.sum(axis=1), before.sum())
    if not len(chances) or chances.shape[1:] != before.shape or (before <= 0).any() or (chances < 0).any():
        raise CalibrationError("A shift of shares needs probabilities of each class and a share above 0 of each.")
    if not np.allclose(sums, 1.0, atol=1e-6):
        raise CalibrationError("The probabilities of a case, and the shares, must sum to 1.")
    share, rounds, converged = before.copy(), 0, False
    while rounds < ROUNDS and not converged:
        weighted = chances * (share / before)
        new = (weighted / weighted.sum(axis=1, keepdims=True)).mean(axis=0)
        converged = bool(np.abs(new - share).max() < SETTLED)
        share, rounds = new, rounds + 1
    statistic = max(2.0 * float(np.log((chances * (share / before)).sum(axis=1)).sum()), 0.0)
    p = float(library("scipy.special").gammaincc((len(before) - 1) / 2, statistic / 2))  # tail of chi squared
    return PriorShift(tuple(before.tolist()), tuple(share.tolist()), rounds, converged, statistic, p)
