"""Parametric empirical Bayes of ComBat: site effects of all dimensions hold each other to account.

Johnson, Li and Rabinovic, Biostatistics 8:118, 2007. The shifts of a site are drawn from one normal and its squared
scales from one inverse gamma distribution over dimensions, whose parameters are the moments of the raw estimates.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
ROUNDS, SETTLED = 200, 1e-6


def shrink(means: Vector, variances: Vector) -> tuple[Vector, Vector]:
    """Shift and squared scale of one site, shrunk.

    Args:
        means: Standardised means of its slides [n, D].
        variances: Standardised variances of the tiles within its slides [n, D].

    Returns:
        Shift [D] and squared scale [D].
    """
    count = len(means)
    raw = means.mean(axis=0)
    centre, width = raw.mean(), raw.var(ddof=1) if len(raw) > 1 else 0.0
    if count == 1:  # one slide cannot tell the site's scale from its own, so only its mean is moved, part of the way
        return (width * raw + centre) / (width + 1.0), np.ones(len(raw))
    square = _square(means, variances, raw)
    middle, apart = square.mean(), square.var(ddof=1) if len(raw) > 1 else 0.0
    if apart <= 1e-12 * middle**2:  # all dimensions agree: nothing to hold to account
        return raw, np.where(square > 0, square, 1.0)
    shape, rate = 2 + middle**2 / apart, middle + middle**3 / apart
    shift, scale = raw, square
    for _ in range(ROUNDS):
        before = shift, scale
        shift = (count * width * raw + scale * centre) / (count * width + scale)
        scale = (rate + count * _square(means, variances, shift) / 2) / (count / 2 + shape - 1)
        if max(np.abs(shift - before[0]).max(), np.abs(scale / before[1] - 1).max()) < SETTLED:
            break
    return shift, scale


def _square(means: Vector, variances: Vector, shift: Vector) -> Vector:
    """Mean squared distance of tiles from the shift, each slide counting once."""
    return np.asarray((variances + (means - shift) ** 2).mean(axis=0))
