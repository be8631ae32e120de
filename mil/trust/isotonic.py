"""Isotonic calibration: any rising curve, for when there are cases enough to draw one.

Zadrozny and Elkan, KDD 2002. Between steps it is a straight line of the logit; it never says 0 or 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mil.extra import library


@dataclass(frozen=True)
class Isotonic:
    """Knots of the curve; level beyond the ends."""

    before: tuple[float, ...]
    """Logits, rising."""
    after: tuple[float, ...]
    """Calibrated logits, never falling."""

    def __call__(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrate.

        Args:
            logits: [N, 1].

        Returns:
            [N, 1].
        """
        return np.interp(logits, self.before, self.after)


def fit_isotonic(logits: NDArray[np.float64], truth: NDArray[np.int64]) -> Isotonic:
    """Fit by pooling adjacent violators.

    Args:
        logits: [n, 1].
        truth: 0 or 1 [n], both there.

    Returns:
        The curve; shares are held inside [1 / (n + 2), 1 - 1 / (n + 2)].
    """
    places, row, counts = np.unique(logits[:, 0], return_inverse=True, return_counts=True)
    shares = np.bincount(row, weights=truth) / counts
    level = library("scipy.optimize").isotonic_regression(shares, weights=counts.astype(np.float64)).x
    edge = 1.0 / (len(truth) + 2.0)
    level = np.clip(level, edge, 1.0 - edge)
    rises = np.flatnonzero(np.diff(level) > 0)
    ends = np.unique(np.concatenate([[0], rises, rises + 1, [len(level) - 1]]))  # both ends of each step
    after = np.log(level[ends]) - np.log1p(-level[ends])
    return Isotonic(tuple(places[ends].tolist()), tuple(after.tolist()))
