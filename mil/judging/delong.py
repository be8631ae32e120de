"""AUROC with its standard error, and two AUROCs of the same cases (DeLong et al. 1988, Sun & Xu 2014).

Slides of one patient are no independent cases: the components are summed by patient first (Obuchowski 1997), which for
one case a patient is DeLong's variance exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from mil.metrics import midranks, roc_auc

_NORMAL = NormalDist()


@dataclass(frozen=True, eq=False)
class Areas:
    """AUROCs of M scores of the same cases."""

    auroc: NDArray[np.float64]
    """[M]."""
    covariance: NDArray[np.float64]
    """[M, M]; NaN where a class has one patient alone."""

    def interval(self, index: int = 0, level: float = 0.95) -> tuple[float, float]:
        """Interval on the logit scale, so that it stays inside 0..1.

        Args:
            index: Which score.
            level: Of confidence.

        Returns:
            Lower and upper end; NaN at an AUROC of 0 or 1, where the variance says nothing.
        """
        area, error = float(self.auroc[index]), math.sqrt(max(0.0, float(self.covariance[index, index])))
        if not 0 < area < 1 or not error > 0:
            return math.nan, math.nan
        middle, reach = math.log(area / (1 - area)), _NORMAL.inv_cdf((1 + level) / 2) * error / (area * (1 - area))
        return 1 / (1 + math.exp(reach - middle)), 1 / (1 + math.exp(-reach - middle))

    def difference(self, first: int = 0, second: int = 1, level: float = 0.95) -> tuple[float, float, float, float]:
        """How two AUROCs differ.

        Args:
            first: Index of one.
            second: Index of the one that is subtracted.
            level: Of confidence.

        Returns:
            Difference, ends of its interval, and the two-sided p; 1 where both scores rank alike.
        """
        contrast = np.zeros(len(self.auroc))
        contrast[first], contrast[second] = 1.0, -1.0
        gap, variance = float(contrast @ self.auroc), float(contrast @ self.covariance @ contrast)
        error = math.sqrt(variance) if variance > 1e-16 else 0.0
        if error == 0:
            return (gap, gap, gap, 1.0) if gap == 0 and math.isfinite(variance) else (gap, math.nan, math.nan, math.nan)
        reach = _NORMAL.inv_cdf((1 + level) / 2) * error
        return gap, gap - reach, gap + reach, math.erfc(abs(gap) / error / math.sqrt(2))


def delong(truth: NDArray[np.float64], scores: NDArray[np.float64], cluster: NDArray[np.int64] | None = None) -> Areas:
    """AUROCs and their covariance in O(M n log n).

    Args:
        truth: 0 or 1 [N], both there.
        scores: [M, N], finite.
        cluster: Number of the patient of each case [N]; every case one of its own if None.

    Returns:
        The areas.
    """
    positive, one = truth == 1, np.arange(truth.size) if cluster is None else cluster
    areas = np.array([roc_auc(truth, row) for row in scores])
    above = np.stack([_placements(row, positive) for row in scores]) - areas[:, None]  # [M, N]
    m, n = int(positive.sum()), int((~positive).sum())
    total = np.zeros((len(scores), len(scores)))
    parts = [_by_cluster(np.where(chosen, above, 0.0), one) for chosen in (positive, ~positive)]
    for part, chosen, size in zip(parts, (positive, ~positive), (m, n), strict=True):
        groups = np.unique(one[chosen]).size
        total += part @ part.T / size**2 * (groups / (groups - 1) if groups > 1 else np.nan)
    cross = parts[0] @ parts[1].T / (m * n)
    everyone = np.unique(one).size
    return Areas(areas, total + (cross + cross.T) * everyone / (everyone - 1))


def _placements(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Share of the other class that each case is on the right side of, from midranks (Sun & Xu 2014)."""
    everyone, placed = midranks(scores), np.empty(scores.size)
    for chosen, sign in ((positive, 1), (~positive, -1)):
        share = (everyone[chosen] - midranks(scores[chosen])) / (~chosen).sum()
        placed[chosen] = share if sign > 0 else 1 - share
    return placed


def _by_cluster(values: NDArray[np.float64], cluster: NDArray[np.int64]) -> NDArray[np.float64]:
    _, place = np.unique(cluster, return_inverse=True)
    return np.stack([np.bincount(place, row) for row in values])
