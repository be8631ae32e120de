"""Kaplan-Meier curves of low, middle and high risk, and whether they differ by more than chance (log-rank)."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mil.extra import library
from mil.judging.figure import number
from mil.judging.survival_outcomes import Outcomes

GROUPS: Final = ("low", "middle", "high")


def tertiles(risk: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where risk is cut into thirds; settled on training cases and then left alone.

    Args:
        risk: Of the training cases [n].

    Returns:
        Two cuts; a case at or below the first is low, above the second high.
    """
    return np.quantile(risk, (1 / 3, 2 / 3))


def risk_curves(outcomes: Outcomes, cuts: NDArray[np.float64]) -> dict[str, object]:
    """Draw the curves and compare them.

    Args:
        outcomes: The cases.
        cuts: From `tertiles`.

    Returns:
        `cuts`, `groups` (one curve each, without those nobody is in) and `log_rank`.
    """
    codes = np.searchsorted(cuts, outcomes.risk, side="left")
    groups = [_curve(name, outcomes, codes == code) for code, name in enumerate(GROUPS) if (codes == code).any()]
    return {"cuts": cuts.tolist(), "groups": groups, "log_rank": log_rank(outcomes, codes)}


def log_rank(outcomes: Outcomes, codes: NDArray[np.intp]) -> dict[str, object]:
    """Mantel's test over any number of groups.

    Args:
        outcomes: The cases.
        codes: The group of each [n].

    Returns:
        `statistic`, `degrees`, `p` and `reason`, which says why there is none.
    """
    groups = len(np.unique(codes))
    why = "all cases are in one group" if groups < 2 else None if outcomes.events.any() else "no case had the event"
    if why is not None:
        return {"statistic": None, "degrees": None, "p": None, "reason": why}
    test = library("lifelines.statistics").multivariate_logrank_test(outcomes.times, codes, outcomes.events)
    if not np.isfinite(test.p_value):
        return {"statistic": None, "degrees": None, "p": None, "reason": "no event falls where groups can be compared"}
    return {"statistic": float(test.test_statistic), "degrees": groups - 1, "p": float(test.p_value), "reason": None}


def _curve(name: str, outcomes: Outcomes, rows: NDArray[np.bool_]) -> dict[str, object]:
    """One group, with pointwise 95 % intervals."""
    fitter = kaplan_meier(outcomes.times[rows], outcomes.events[rows])
    interval = fitter.confidence_interval_.to_numpy()
    return {
        "group": name,
        "n": int(rows.sum()),
        "events": int(outcomes.events[rows].sum()),
        "median": number(fitter.median_survival_time_),
        "times": fitter.timeline.tolist(),
        "survival": fitter.survival_function_.iloc[:, 0].tolist(),
        "lower": [number(end) for end in interval[:, 0]],
        "upper": [number(end) for end in interval[:, 1]],
    }


def kaplan_meier(times: NDArray[np.float64], events: NDArray[np.bool_]) -> Any:  # noqa: ANN401 - no types there
    """Fit one curve.

    Args:
        times: [n].
        events: [n].

    Returns:
        A fitted `lifelines.KaplanMeierFitter`.
    """
    return library("lifelines").KaplanMeierFitter().fit(times, events)
