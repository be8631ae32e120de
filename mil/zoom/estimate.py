"""What a cascade skipped, estimated from the tiles that were looked at by chance.

The random low-zoom tiles are a simple random sample of those below the top, so a sum over the fine tiles in them,
times how many tiles each stands for, is an unbiased estimate of the sum over all below the top (Horvitz & Thompson,
JASA 47, 1952; a low-zoom tile is a cluster of fine ones). Its deviation is that of cluster totals, with the correction
for a finite slide (Cochran, Sampling Techniques, 1977, section 9).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mil.why.asked import Asked
from mil.why.averaging import scorer_of
from mil.zoom.choice import Choice


@dataclass(frozen=True)
class Estimate:
    """What the whole slide would have said; None where no tile was looked at by chance though some were skipped."""

    chosen: float
    """Logit of the tiles that scored highest at low zoom (all encoded ones where there is none of these)."""
    whole: float | None
    """Logit with each random tile standing for all that it represents: what encoding everything would have given."""
    loss: float | None
    """`whole` less `chosen`: what skipping cost, in logits."""
    missed: float | None
    """Skipped fine tiles that would have scored as high as the median of the chosen ones; unbiased."""
    missed_sd: float | None
    """Standard error of `missed`; None where one random tile says nothing of it."""


def estimate(asked: Asked, clusters: NDArray[np.int64], choice: Choice) -> Estimate:
    """Estimate what was skipped.

    Args:
        asked: The fine head with the encoded tiles.
        clusters: For each encoded tile the random low-zoom tile it lies in, -1 for those that were not by chance [n].
        choice: Of the low-zoom tiles.

    Returns:
        The estimate; where nothing was skipped it is exact.
    """
    top, chance = np.flatnonzero(clusters < 0), np.flatnonzero(clusters >= 0)
    scorer = scorer_of(asked)
    chosen = float(scorer.scores([top if top.size else chance])[0])
    if len(choice.skipped) and not len(choice.random):
        return Estimate(chosen, None, None, None, None)
    weighed = np.concatenate([top, _repeated(chance, clusters[chance], choice)])
    whole = float(scorer.scores([np.sort(weighed)])[0]) if weighed.size else chosen
    alone = asked.scores(list(np.arange(asked.count)[:, None]))
    high = alone >= np.median(alone[top if top.size else chance])
    missed, deviation = _missed(high[chance], clusters[chance], choice)
    return Estimate(chosen, whole, whole - chosen, missed, deviation)


def _repeated(rows: NDArray[np.int64], clusters: NDArray[np.int64], choice: Choice) -> NDArray[np.int64]:
    """Rows of random tiles, each as often as it stands for, in whole numbers that sum to what there is."""
    total, count = len(choice.random) + len(choice.skipped), len(choice.random)
    if not count:
        return rows
    times = total // count + (np.random.default_rng(0).permutation(count) < total % count)
    return np.repeat(rows, times[np.searchsorted(choice.random, clusters)])


def _missed(high: NDArray[np.bool_], clusters: NDArray[np.int64], choice: Choice) -> tuple[float, float | None]:
    """High tiles among the skipped, and the standard error."""
    if not len(choice.skipped):
        return 0.0, 0.0
    totals = np.bincount(np.searchsorted(choice.random, clusters[high]), minlength=len(choice.random))
    skipped, count = len(choice.skipped), len(choice.random)
    missed = float(totals.mean()) * skipped
    if count < 2:
        return missed, None
    # The skipped are what is left of N clusters when n are drawn: the error of N - n times the mean of the n drawn, as
    # a prediction of the total of the others.
    variance = float(totals.var(ddof=1)) * (1 / count + 1 / skipped)
    return missed, float(np.sqrt(variance)) * skipped
