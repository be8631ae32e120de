"""Does the higher risk fail first? Concordance over pairs of cases, and over cases and controls at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mil.judging.survival_outcomes import Outcomes

BLOCK: Final = 256
"""Cases compared with all others at a time, so that memory does not grow with the square of the cohort."""


def concordance(
    weights: NDArray[np.float64], outcomes: Outcomes, free: NDArray[np.float64], until: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Harrell's C (JAMA 1982, 247:2543) and Uno's, which censoring does not move (Stat Med 2011, 30:1105).

    A pair counts where one had the event and the other was watched longer; equal risks are half right. Uno's weighs a
    pair by 1 / G(t-)^2, the earlier time t being less than `until`.

    Args:
        weights: Of the cases [W, n].
        outcomes: The cases.
        free: Probability G(t-) of not being censored before the time of each case [W or 1, n].
        until: Last time that Uno's looks at.

    Returns:
        Harrell's [W] and Uno's [W]; NaN where no pair counts.
    """
    totals = np.zeros((4, len(weights)))
    for rows in _blocks(np.flatnonzero(outcomes.events)):
        times, risk = outcomes.times[rows, None], outcomes.risk[rows, None]
        longer = (outcomes.times > times) | ((outcomes.times == times) & ~outcomes.events)
        pairs = weights @ longer.T.astype(np.float64)
        right = weights @ (longer * _wins(risk, outcomes.risk)).T
        own = weights[:, rows]
        scaled = np.where(outcomes.times[rows] < until, _over(own, free[:, rows] ** 2), 0.0)
        totals += [(own * right).sum(1), (own * pairs).sum(1), (scaled * right).sum(1), (scaled * pairs).sum(1)]
    return _ratio(totals[0], totals[1]), _ratio(totals[2], totals[3])


def dynamic_auc(
    weights: NDArray[np.float64], outcomes: Outcomes, free: NDArray[np.float64], horizons: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Cumulative/dynamic AUC: had the event by then against watched longer (Hung & Chiang 2010, Can J Stat 38:8).

    Args:
        weights: Of the cases [W, n].
        outcomes: The cases.
        free: G(t-) of each case [W or 1, n]; those with the event are weighed by its inverse.
        horizons: Times [H].

    Returns:
        [W, H]; NaN where nobody had the event by then, or nobody was watched longer.
    """
    values = np.full((len(weights), len(horizons)), np.nan)
    scaled = _over(weights, free)
    for column, horizon in enumerate(horizons):
        cases = np.flatnonzero(outcomes.events & (outcomes.times <= horizon))
        controls = np.flatnonzero(outcomes.times > horizon)
        right = np.zeros(len(weights))
        for rows in _blocks(cases):
            wins = _wins(outcomes.risk[rows, None], outcomes.risk[controls])
            right += (scaled[:, rows] * (weights[:, controls] @ wins.T)).sum(1)
        values[:, column] = _ratio(right, scaled[:, cases].sum(1) * weights[:, controls].sum(1))
    return values


def _blocks(rows: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    return (rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK))


def _wins(risk: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 where the risk is higher, 1/2 where it is equal."""
    return ((risk > others) + (risk >= others).astype(np.float64)) / 2


def _over(weights: NDArray[np.float64], free: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights over G; 0 where G is 0, which no case that was watched so long can have."""
    return np.divide(weights, free, out=np.zeros_like(weights), where=np.broadcast_to(free > 0, weights.shape))


def _ratio(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(above, below, out=np.full_like(below, np.nan), where=below > 0)
