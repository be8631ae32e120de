"""Intervals by resampling patients, never slides of a patient apart (Efron 1987: BCa).

A resample is a row of weights, one a case, so that a figure of merit that takes weights [B, N] judges thousands of
resamples in a few matrix operations. The jackknife is the same function with rows of one patient left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Weights of the cases [B, N] -> F figures of each row [B, F]; NaN where a row has none."""
BLOCK = 2_000_000
"""Weights held at once, 16 MB."""
FINITE = 0.95
"""Least share of the resamples that must have a value for an interval to be given."""
_NORMAL = NormalDist()


@dataclass(frozen=True, eq=False)
class Estimate:
    """Figures with what resampling says of them."""

    value: NDArray[np.float64]
    """On all cases [F]."""
    ends: NDArray[np.float64]
    """Lower and upper ends [2, F]; NaN where too few resamples have a value or all have the same."""
    p: NDArray[np.float64]
    """How often resamples lie on the other side of 0, both sides together [F], for differences; NaN where too few
    resamples have a value."""


@dataclass(frozen=True, eq=False)
class Resampling:
    """Which patients there are and how they are drawn: within each stratum, with replacement."""

    cluster: NDArray[np.int64]
    """Which patient each case is of, 0..P-1 [N]."""
    strata: NDArray[np.int64]
    """Stratum of each patient [P]."""
    count: int = 2000
    """Resamples; 2,000 hold the ends of a 95 % interval to about a hundredth of its width."""
    seed: int = 0
    level: float = 0.95

    @classmethod
    def of(cls, patients: Sequence[str], strata: NDArray[np.int64], *, count: int = 2000, seed: int = 0) -> Resampling:
        """Prepare resampling.

        Args:
            patients: Of each case [N].
            strata: Of each case [N], usually its class; a patient has the largest of its cases.
            count: Resamples.
            seed: Of the draws.

        Returns:
            The resampling.
        """
        names, cluster = np.unique(np.asarray(patients, np.str_), return_inverse=True)
        most = np.full(len(names), np.iinfo(np.int64).min)
        np.maximum.at(most, cluster, strata)
        return cls(cluster.astype(np.int64), most, count, seed)

    def draws(self) -> Iterator[NDArray[np.float64]]:
        """Weights of resamples.

        Yields:
            [b, N], `count` rows in all: how often the patient of each case was drawn.
        """
        rng, counts = np.random.default_rng(self.seed), np.zeros((self.count, len(self.strata)), np.int32)
        for stratum in np.unique(self.strata):
            members = np.flatnonzero(self.strata == stratum)
            counts[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), self.count)
        for rows in self._blocks(self.count):
            yield counts[rows][:, self.cluster].astype(np.float64)

    def left_out(self) -> Iterator[NDArray[np.float64]]:
        """Weights of the jackknife.

        Yields:
            [b, N], one row a patient: 0 for its cases, 1 for all others.
        """
        for rows in self._blocks(len(self.strata)):
            yield (self.cluster[None] != np.arange(rows.start, rows.stop)[:, None]).astype(np.float64)

    def _blocks(self, rows: int) -> Iterator[slice]:
        step = max(1, BLOCK // max(1, len(self.cluster)))
        return (slice(start, min(start + step, rows)) for start in range(0, rows, step))

    def drawn(self, statistic: Statistic) -> NDArray[np.float64]:
        """Figures of every resample.

        Args:
            statistic: What is judged.

        Returns:
            [B, F].
        """
        return np.concatenate([statistic(weights) for weights in self.draws()])

    def intervals(self, statistic: Statistic) -> Estimate:
        """Figures with bias-corrected, accelerated intervals.

        Args:
            statistic: What is judged.

        Returns:
            The figures on all cases, with their ends.
        """
        value = statistic(np.ones((1, len(self.cluster))))[0]
        drawn = self.drawn(statistic)
        left = np.concatenate([statistic(weights) for weights in self.left_out()])
        ends = [self._bca(*each) for each in zip(value, drawn.T, left.T, strict=True)]
        sides, finite = np.minimum((drawn <= 0).sum(0), (drawn >= 0).sum(0)), np.isfinite(drawn).sum(0)
        enough = np.isfinite(value) & (finite >= FINITE * self.count)
        p = np.where(enough, np.minimum(1.0, 2 * (1 + sides) / (1 + finite)), np.nan)
        return Estimate(value, np.array(ends, np.float64).reshape(-1, 2).T, p)

    def _bca(self, value: float, drawn: NDArray[np.float64], left: NDArray[np.float64]) -> tuple[float, float]:
        """Ends of one interval, from the figure, its resamples [B] and its jackknife [P]."""
        finite = drawn[np.isfinite(drawn)]
        if not np.isfinite(value) or finite.size < FINITE * drawn.size or np.ptp(finite) <= 1e-12 * (1 + abs(value)):
            return np.nan, np.nan
        below = (np.sum(finite < value) + np.sum(finite == value) / 2) / finite.size
        bias = _NORMAL.inv_cdf(min(max(float(below), 0.5 / finite.size), 1 - 0.5 / finite.size))
        speed = acceleration(left, self.strata)
        tails = [bias + _NORMAL.inv_cdf(p) for p in ((1 - self.level) / 2, (1 + self.level) / 2)]
        places = [_NORMAL.cdf(bias + tail / (1 - speed * tail)) for tail in tails]
        low, high = np.quantile(finite, sorted(places))
        return float(low), float(high)


def acceleration(left: NDArray[np.float64], strata: NDArray[np.int64]) -> float:
    """How fast the standard error changes with the figure, of a sample in several strata (Efron & Tibshirani 1993).

    Args:
        left: The figure without each patient [P]; NaN where it has none.
        strata: Of each patient [P].

    Returns:
        The acceleration; 0 where the jackknife says nothing.
    """
    cubes = squares = 0.0
    for stratum in np.unique(strata):
        values = left[strata == stratum]
        values = values[np.isfinite(values)]
        if values.size > 1:
            pull = (values.size - 1) * (values.mean() - values) / values.size
            cubes, squares = cubes + float((pull**3).sum()), squares + float((pull**2).sum())
    return cubes / (6 * squares**1.5) if squares > 0 else 0.0
