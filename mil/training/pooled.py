"""Mean and deviation of the tiles of each case, read once: what standardises a head, and what a linear model sees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mil.cohort.cohort import Cohort
from mil.errors import EmptyBagError
from mil.head import Head

CONSTANT = 1e-12
"""A feature whose variance is not above this says nothing."""


@dataclass(frozen=True, eq=False)
class Pooled:
    """Of many cases."""

    mean: NDArray[np.float64]
    """[cases, D]."""
    variance: NDArray[np.float64]
    """[cases, D]."""

    def rows(self, chosen: NDArray[np.int64]) -> Pooled:
        """Some of the cases.

        Args:
            chosen: Which.

        Returns:
            In that order.
        """
        return Pooled(self.mean[chosen], self.variance[chosen])

    @property
    def features(self) -> NDArray[np.float64]:
        """Means, then deviations [cases, 2 D]."""
        return np.hstack([self.mean, np.sqrt(self.variance)])


def pool_cohort(cohort: Cohort) -> Pooled:
    """Stream the tiles of all cases once.

    Args:
        cohort: The cases.

    Returns:
        Their means and variances.

    Raises:
        EmptyBagError: A case has no tile; names its row.
    """
    mean = np.zeros((len(cohort), cohort.source.width))
    variance = np.zeros_like(mean)
    for index, case in enumerate(cohort.cases):
        features = cohort.features(index)
        if not len(features):
            raise EmptyBagError(f"The case of row {case.row} of the labels has no tile.")
        mean[index] = features.mean(axis=0, dtype=np.float64)
        variance[index] = np.square(features - mean[index].astype(np.float32)).mean(axis=0, dtype=np.float64)
    return Pooled(mean, variance)


def standardise(head: Head, pooled: Pooled) -> None:
    """Set the head's buffers to the mean and deviation of the features, each case counting alike.

    The variance over all is the mean of the variances within the cases plus the variance of their means.

    Args:
        head: Its `mean` and `scale` [D] are set; a constant feature keeps scale 1.
        pooled: Of the training cases.
    """
    mean = pooled.mean.mean(axis=0)
    square = (pooled.variance + (pooled.mean - mean) ** 2).mean(axis=0)
    scale = np.where(square > CONSTANT, np.sqrt(square), 1.0)
    head.mean.copy_(torch.from_numpy(mean))
    head.scale.copy_(torch.from_numpy(scale))
