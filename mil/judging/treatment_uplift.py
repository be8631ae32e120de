"""Who gains by treatment: the Qini curve, and the area by which it beats treating at random (Radcliffe 2007)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mil.judging.treatment_cases import Treated


def qini(weights: NDArray[np.float64], cases: Treated) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Treat those of the highest score first, and count what is gained over the untreated of the same scores.

    Equal scores are treated together, so that their order does not matter.

    Args:
        weights: Of the cases [W, n].
        cases: The cases; the outcome is what treatment is meant to bring about.

    Returns:
        Share of the cases that is treated [W, m + 1], and outcomes gained for each treated case of the cohort
        [W, m + 1], both from 0.
    """
    order = np.argsort(-cases.score, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(cases.score[order]) != 0, True))
    treated, outcome = cases.treated[order], cases.outcome[order]

    def passed(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        sums = np.cumsum(weights[:, order] * mask, axis=1)[:, ends]
        return np.concatenate([np.zeros((len(weights), 1)), sums], axis=1)

    had, had_not = passed(treated), passed(~treated)
    ratio = np.divide(had, had_not, out=np.zeros_like(had), where=had_not > 0)
    gained = passed(treated & outcome) - passed(~treated & outcome) * ratio
    everyone, all_treated = passed(np.ones_like(treated)), had[:, -1:]
    return everyone / everyone[:, -1:], np.divide(
        gained, all_treated, out=np.full_like(gained, np.nan), where=all_treated > 0
    )


def qini_coefficient(share: NDArray[np.float64], gained: NDArray[np.float64]) -> NDArray[np.float64]:
    """Area between the curve and the straight line of treating at random.

    Args:
        share: [W, m + 1], as `qini` gives it.
        gained: [W, m + 1].

    Returns:
        [W]; 0 where the score does not know who gains, above 0 where it puts them first.
    """
    return np.trapezoid(gained, share, axis=1) - gained[:, -1] / 2
