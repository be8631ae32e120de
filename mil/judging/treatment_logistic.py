"""Logistic regression without a penalty, for many weightings of the same cases at once."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

STEPS: Final = 30
STRIDE: Final = 2.0
"""Longest move of a coefficient in one step; where classes are told apart without an error it never ends."""


def logistic(
    weights: NDArray[np.float64], design: NDArray[np.float64], labels: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit by Newton's method.

    Args:
        weights: Of the cases [W, n].
        design: Columns of about unit spread, one of them constant [n, p].
        labels: [n].

    Returns:
        Coefficients [W, p] and their covariance [W, p, p]; NaN where a fit has none, as when the classes are told
        apart without an error.
    """
    width = design.shape[1]
    products = (design[:, :, None] * design[:, None, :]).reshape(len(design), -1)
    ridge = 1e-9 * np.eye(width)
    found, moved = np.zeros((len(weights), width)), np.full(len(weights), np.inf)
    for _ in range(STEPS):
        chance = probabilities(found, design)
        slope = (weights * (labels - chance)) @ design
        bend = ((weights * chance * (1 - chance)) @ products).reshape(-1, width, width)
        step = np.linalg.solve(bend + ridge, slope[:, :, None])[:, :, 0]
        found += np.clip(step, -STRIDE, STRIDE)
        moved = np.abs(step).max(axis=1)
        if (moved < 1e-8).all():
            break
    bad = ~(moved < 1e-6)
    covariance = np.asarray(np.linalg.inv(bend + ridge), np.float64)
    found[bad], covariance[bad] = np.nan, np.nan
    return found, covariance


def probabilities(coefficients: NDArray[np.float64], design: NDArray[np.float64]) -> NDArray[np.float64]:
    """Chance of a positive label.

    Args:
        coefficients: [W, p].
        design: [n, p].

    Returns:
        [W, n].
    """
    return np.asarray(1 / (1 + np.exp(np.clip(-coefficients @ design.T, -500, 500))))
