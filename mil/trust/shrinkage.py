"""The covariance of few points in many dimensions, shrunk towards equal variances by as much as the data ask for.

Ledoit and Wolf, Journal of Multivariate Analysis 88:365, 2004.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def ledoit_wolf(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Estimate a covariance.

    Args:
        points: [n, D], centred, n >= 1.

    Returns:
        The covariance [D, D], positive definite unless all points are one, and the share of it that is the multiple
        of the identity.
    """
    count, width = points.shape
    sample = points.T @ points / count
    level = float(np.trace(sample)) / width
    apart = float((sample**2).sum()) / width - level**2  # squared distance of the sample from the target
    noise = (float((np.square(points).sum(axis=1) ** 2).sum()) / count - float((sample**2).sum())) / (count * width)
    share = float(np.clip(noise / apart, 0.0, 1.0)) if apart > 0 else 1.0
    return (1.0 - share) * sample + share * level * np.eye(width), share
