"""Kaplan and Meier's estimate for many weightings at once, of the event or of being censored (JASA 1958, 53:457)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mil.judging.survival_outcomes import Outcomes


@dataclass(frozen=True, eq=False)
class Steps:
    """Step functions of time, one a weighting."""

    times: NDArray[np.float64]
    """Where they may fall [U], ascending."""
    levels: NDArray[np.float64]
    """Before the first and after each of these times [W, U + 1], from 1 down."""

    def at(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """Value at times: S(t).

        Args:
            times: [m].

        Returns:
            [W, m].
        """
        return self.levels[:, np.searchsorted(self.times, times, side="right")]

    def before(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """Value just before times: S(t-).

        Args:
            times: [m].

        Returns:
            [W, m].
        """
        return self.levels[:, np.searchsorted(self.times, times, side="left")]


def survival_steps(weights: NDArray[np.float64], outcomes: Outcomes) -> Steps:
    """Probability that the event has not come.

    Args:
        weights: Of the cases [W, n].
        outcomes: The cases.

    Returns:
        One curve a weighting.
    """
    return _product_limit(weights, outcomes.times, outcomes.events, np.zeros(len(outcomes), bool))


def censoring_steps(weights: NDArray[np.float64], outcomes: Outcomes) -> Steps:
    """Probability of not being censored, G: events of the same time are gone before censoring strikes.

    Args:
        weights: Of the cases [W, n].
        outcomes: The cases.

    Returns:
        One curve a weighting.
    """
    return _product_limit(weights, outcomes.times, ~outcomes.events, outcomes.events)


def _product_limit(
    weights: NDArray[np.float64], times: NDArray[np.float64], struck: NDArray[np.bool_], gone: NDArray[np.bool_]
) -> Steps:
    """Product of the shares that are not struck, among those still there."""
    unique, codes = np.unique(times, return_inverse=True)
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(unique.size))
    sums = [np.add.reduceat(weights[:, order] * mask[order], starts, axis=1) for mask in (struck, gone)]
    everyone = np.add.reduceat(weights[:, order], starts, axis=1)
    there = everyone[:, ::-1].cumsum(axis=1)[:, ::-1] - sums[1]
    share = np.divide(sums[0], there, out=np.zeros_like(there), where=there > 0)
    levels = np.cumprod(np.clip(1 - share, 0, 1), axis=1)
    return Steps(unique, np.concatenate([np.ones((len(weights), 1)), levels], axis=1))
