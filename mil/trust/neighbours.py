"""Distance to the k-th nearest neighbour on the unit sphere: an outlier is what has no company.

Sun et al., ICML 2022, arXiv:2204.06507. It assumes no shape of the cloud, where Mahalanobis assumes an ellipsoid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS = 50
PIECE = 2048


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Points to compare with."""

    reference: NDArray[np.float32]
    """Unit vectors [R, D]."""
    k: int
    """Which neighbour counts, at most R."""

    def distances(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Euclidean distance to the k-th neighbour.

        Args:
            points: [n, D].

        Returns:
            0 to 2 [n].
        """
        found = np.empty(len(points))
        for start in range(0, len(points), PIECE):
            cosine = unit(points[start : start + PIECE]) @ self.reference.T
            kth = np.partition(cosine, -self.k, axis=1)[:, -self.k]
            found[start : start + PIECE] = np.sqrt(np.maximum(2.0 - 2.0 * kth, 0.0))
        return found


def fit_neighbours(points: NDArray[np.floating], k: int = NEIGHBOURS) -> Neighbours:
    """Keep points to compare with.

    Args:
        points: [R, D], at least one.
        k: Which neighbour counts; a fiftieth of the points where they are too few for it.

    Returns:
        The neighbours.
    """
    return Neighbours(unit(points), max(min(k, len(points) // 50), 1))


def unit(points: NDArray[np.floating]) -> NDArray[np.float32]:
    """Scale points to length 1.

    Args:
        points: [n, D].

    Returns:
        [n, D]; a point at the origin stays there.
    """
    length = np.linalg.norm(points, axis=1, keepdims=True)
    return np.asarray(points / np.where(length > 0, length, 1.0), np.float32)
