"""Values against values: how far off, and how well ordered."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

VALUES: Final = ("r2", "pearson", "spearman", "mae")


def agreement_of_values(
    truth: NDArray[np.float64], said: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The figures of `VALUES`.

    Args:
        truth: [N].
        said: [N].
        weights: [B, N]; whole numbers, as often as a case is there.

    Returns:
        [B, 4]: share of the variance explained (below 0 where the mean would be better), linear and rank correlation,
        mean absolute error in the unit of the truth; NaN where there is no variance.
    """
    total = weights.sum(1)
    mean = weights @ truth / total
    spread = weights @ truth**2 / total - mean**2
    miss = weights @ (truth - said) ** 2 / total
    with np.errstate(invalid="ignore", divide="ignore"):
        r2 = np.where(spread > _hair(truth), 1 - miss / spread, np.nan)
    pearson = _correlation(np.broadcast_to(truth, weights.shape), np.broadcast_to(said, weights.shape), weights)
    spearman = _correlation(weighted_midranks(truth, weights), weighted_midranks(said, weights), weights)
    return np.stack([r2, pearson, spearman, weights @ np.abs(truth - said) / total], axis=1)


def weighted_midranks(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks of cases that are there several times.

    Args:
        values: [N].
        weights: How often each case is there [B, N].

    Returns:
        Midranks [B, N].

    >>> weighted_midranks(np.array([1.0, 2.0]), np.array([[2.0, 1.0]])).tolist()
    [[1.5, 3.0]]
    """
    _, place = np.unique(values, return_inverse=True)
    order = np.argsort(place, kind="stable")
    last = np.flatnonzero(np.append(np.diff(place[order]) > 0, True))
    until = np.pad(np.cumsum(weights[:, order], axis=1)[:, last], ((0, 0), (1, 0)))
    return np.asarray(((until[:, 1:] + until[:, :-1] + 1) / 2)[:, place])


def coverage(
    truth: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How often the truth lies inside its interval, and how wide the intervals are.

    Args:
        truth: [N].
        low: Lower ends [N].
        high: Upper ends [N].
        weights: [B, N].

    Returns:
        Coverage and mean width [B, 2].
    """
    inside = ((truth >= low) & (truth <= high)).astype(np.float64)
    return np.asarray(weights @ np.stack([inside, high - low], axis=1) / weights.sum(1, keepdims=True), np.float64)


def _correlation(x: NDArray[np.float64], y: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    total = weights.sum(1, keepdims=True)
    x, y = (v - (weights * v).sum(1, keepdims=True) / total for v in (x, y))
    both, one, other = ((weights * a * b).sum(1) for a, b in ((x, y), (x, x), (y, y)))
    with np.errstate(invalid="ignore", divide="ignore"):
        found = both / np.sqrt(one * other)
    found[np.minimum(one, other) / total[:, 0] <= 1e-24] = np.nan
    return np.asarray(found, np.float64)


def _hair(values: NDArray[np.float64]) -> float:
    return 1e-14 * float((values**2).mean())
