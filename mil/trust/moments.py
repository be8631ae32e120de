"""Mean and variance of the tiles of each slide: all that per-site standardisation needs to know, in one pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mil.cohort.source import BagSource
from mil.trust.streaming import slide_pieces


@dataclass(frozen=True, eq=False)
class Moments:
    """Of each slide, over its tiles; a slide counts once, however many tiles it has."""

    means: NDArray[np.float64]
    """[slides, D]."""
    variances: NDArray[np.float64]
    """[slides, D]."""

    def rows(self, which: NDArray[np.bool_]) -> Moments:
        """Some of the slides.

        Args:
            which: bool [slides].

        Returns:
            Their moments.
        """
        return Moments(self.means[which], self.variances[which])


def slide_moments(source: BagSource) -> Moments:
    """Read every slide once, in pieces.

    Args:
        source: Any.

    Returns:
        The moments.
    """
    shape = (len(source.sizes), source.width)
    means, variances = np.zeros(shape), np.zeros(shape)
    for row in range(len(source.sizes)):
        for start, narrow in slide_pieces(source, row):
            part = narrow.astype(np.float64)
            gap = part.mean(axis=0) - means[row]
            share = len(part) / (start + len(part))  # Chan, Golub and LeVeque: two means and variances make one
            means[row] += gap * share
            variances[row] += (part.var(axis=0) - variances[row]) * share + gap**2 * share * (1 - share)
    return Moments(means, variances)
