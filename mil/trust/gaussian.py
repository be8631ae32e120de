"""Mahalanobis distance in the leading principal components: how far a point lies from a cloud, in the cloud's units.

Lee et al., NeurIPS 2018, arXiv:1807.03888, for one class, with the covariance of Ledoit and Wolf.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mil.errors import CalibrationError
from mil.trust.shrinkage import ledoit_wolf

COMPONENTS = 128
"""Leading components kept; the rest is mostly noise of the encoder."""


@dataclass(frozen=True, eq=False)
class Gaussian:
    """A cloud of points."""

    mean: NDArray[np.float32]
    """[D]."""
    whitening: NDArray[np.float32]
    """[D, k]: after it, the cloud has variance 1 in every direction."""

    def distances(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Mahalanobis distances over the root of k, so that about 1 is usual.

        Args:
            points: [n, D].

        Returns:
            [n].
        """
        white = (points - self.mean) @ self.whitening
        return np.asarray(np.sqrt(np.mean(np.square(white, dtype=np.float64), axis=1)))


def fit_gaussian(points: NDArray[np.floating], components: int = COMPONENTS) -> Gaussian:
    """Describe a cloud.

    Args:
        points: [n, D].
        components: At most so many are kept.

    Returns:
        The cloud.

    Raises:
        CalibrationError: There are fewer than two points, or all are one.
    """
    if len(points) < 2:
        raise CalibrationError(f"Outliers are measured against two points at least; there is {len(points)}.")
    wide = points.astype(np.float64)
    mean = wide.mean(axis=0)
    centred = wide - mean
    kept = min(components, len(points) - 1, points.shape[1])
    variance, axes = np.linalg.eigh(centred.T @ centred / len(points))  # rising
    axes = axes[:, ::-1][:, :kept]
    if variance[-1] <= 1e-12 * max(float(np.square(mean).mean()), 1e-12):
        raise CalibrationError("All points are the same, so none can be told to be an outlier.")
    covariance, _ = ledoit_wolf(centred @ axes)
    spread, turn = np.linalg.eigh(covariance)
    spread = np.maximum(spread, 1e-6 * spread[-1])
    return Gaussian(mean.astype(np.float32), (axes @ turn / np.sqrt(spread)).astype(np.float32))
