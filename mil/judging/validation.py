"""Figures of cross-validation: folds share their training cases, so their spread is less than it seems."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mil.extra import library


def corrected_error(differences: NDArray[np.float64], share: float) -> float:
    """Standard error of a mean over folds, widened because their training cases overlap (Nadeau & Bengio 2003).

    Args:
        differences: One a fold of each repeat, finite [J], J > 1.
        share: Test cases over training cases of a fold.

    Returns:
        The error.
    """
    return math.sqrt((1 / differences.size + share) * float(differences.var(ddof=1)))


def corrected_t(
    differences: NDArray[np.float64], share: float, level: float = 0.95
) -> tuple[float, float, float, float]:
    """Mean over the folds with the corrected resampled t (Nadeau & Bengio 2003).

    Args:
        differences: One figure, or difference of two models, a fold of each repeat [J]; those not finite are dropped.
        share: Test cases over training cases of a fold, 1 / (k - 1) for k folds.
        level: Of confidence.

    Returns:
        Mean, ends of its interval, and the two-sided p that it is 0; NaN where fewer than two folds have a figure.
    """
    kept = differences[np.isfinite(differences)]
    if kept.size < 2:
        return (float(kept.mean()) if kept.size else math.nan), math.nan, math.nan, math.nan
    t = library("scipy.stats").t
    mean, error = float(kept.mean()), corrected_error(kept, share)
    reach = float(t.ppf((1 + level) / 2, kept.size - 1)) * error
    p = 2 * float(t.sf(abs(mean) / error, kept.size - 1)) if error > 0 else float(mean == 0)
    return mean, mean - reach, mean + reach, p


def permutation_p(
    statistic: Callable[[NDArray[np.float64]], float],
    truth: NDArray[np.float64],
    cluster: NDArray[np.int64],
    *,
    count: int = 1000,
    seed: int = 0,
) -> float:
    """How often a figure as good comes from labels that mean nothing.

    Args:
        statistic: Labels [N] -> figure; larger is better.
        truth: Labels [N].
        cluster: Number of the patient of each case [N]; patients with equally many cases change places whole.
        count: Permutations.
        seed: Of the permutations.

    Returns:
        (1 + as good) / (1 + count) (Phipson & Smyth 2010).
    """
    rng, seen = np.random.default_rng(seed), statistic(truth)
    order, sizes = np.argsort(cluster, kind="stable"), np.bincount(cluster)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    groups = [
        order[starts[sizes == size][:, None] + np.arange(size)] for size in np.unique(sizes[sizes > 0])
    ]  # [patients, size] each
    good = 0
    for _ in range(count):
        shuffled = truth.copy()
        for rows in groups:
            shuffled[rows] = truth[rows[rng.permutation(len(rows))]]
        good += statistic(shuffled) >= seen - 1e-12
    return (1 + good) / (1 + count)


def holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Adjust p-values for their number (Holm 1979).

    Args:
        p: [M]; NaN is a test that could not be made and does not count.

    Returns:
        Adjusted [M].

    >>> holm(np.array([0.01, 0.04, 0.03])).round(6).tolist()
    [0.03, 0.06, 0.06]
    """
    adjusted, kept = np.full(p.size, np.nan), np.flatnonzero(np.isfinite(p))
    order = kept[np.argsort(p[kept], kind="stable")]
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(order.size, 0, -1)))
    return adjusted
