"""What treatment did to the cases as a whole, as they came and with confounding weighed away."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mil.extra import library
from mil.judging.bootstrap import Resampling
from mil.judging.figure import figure
from mil.judging.treatment_cases import Treated
from mil.judging.treatment_evalue import e_value, risk_ratio_of_hazards

Weigh = Callable[[NDArray[np.float64]], NDArray[np.float64]]
NO_WEIGHTS: Final = "the weights do not exist"
NO_RATIO: Final = "in one arm nobody, or everybody that counts, had the outcome"
NO_HAZARD: Final = "in one arm nobody had the event, or the weights do not exist"


def risks(cases: Treated, resampling: Resampling, weigh: Weigh) -> dict[str, object]:
    """Difference and ratio of the risks of an outcome that is yes or no.

    Args:
        cases: The cases.
        resampling: Of their patients.
        weigh: From weights of cases [W, n] to weights of cases.

    Returns:
        The figures `risk_difference` and `risk_ratio`, and the `e_value` of the ratio.
    """

    def both(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        own = weigh(weights)
        with np.errstate(divide="ignore", invalid="ignore"):
            treated, not_treated = (
                (own * (cases.outcome & arm)).sum(1) / (own * arm).sum(1) for arm in (cases.treated, ~cases.treated)
            )
            return np.column_stack([treated - not_treated, np.log(treated / not_treated)])

    found = resampling.intervals(both)
    difference, log = (
        figure(value, low, high, "" if np.isfinite(value) else why)
        for value, low, high, why in zip(found.value, *found.ends, (NO_WEIGHTS, NO_RATIO), strict=True)
    )
    return {"risk_difference": difference, **_ratio("risk_ratio", log, None)}


def hazards(weights: NDArray[np.float64], cases: Treated, patients: Sequence[str] | None) -> dict[str, object]:
    """Ratio of the hazards, by a Cox model of treatment alone with a robust interval.

    Args:
        weights: Of the cases [n].
        cases: The cases, with follow-up.
        patients: Of each case; cases of one are no independent witnesses.

    Returns:
        The figure `hazard_ratio` and its `e_value`.
    """
    share = float(cases.outcome.mean())
    columns = {"treated": cases.treated.astype(float), "time": cases.times, "event": cases.outcome, "weight": weights}
    clusters = range(len(cases)) if patients is None else np.unique(np.asarray(patients), return_inverse=True)[1]
    frame = library("pandas").DataFrame(columns).assign(cluster=clusters)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            fitted = (
                library("lifelines")
                .CoxPHFitter()
                .fit(frame, "time", "event", weights_col="weight", cluster_col="cluster", robust=True)
            )
    except (library("lifelines.exceptions").ConvergenceError, ValueError, TypeError, Warning):
        return _ratio("hazard_ratio", figure(np.nan, reason=NO_HAZARD), share)
    low, high = (float(end) for end in fitted.confidence_intervals_.to_numpy()[0])
    log = {"value": float(fitted.params_["treated"]), "interval": [low, high], "reason": None}
    return _ratio("hazard_ratio", log, share)


def _ratio(name: str, log: dict[str, Any], share: float | None) -> dict[str, object]:
    """From a logarithm to the ratio and its E-value; a hazard ratio brings the share with the event."""
    if log["value"] is None:
        return {name: log, "e_value": {"estimate": None, "limit": None}}
    value, ends = float(np.exp(log["value"])), [float(np.exp(end)) for end in log["interval"] or ()]
    risks = [ratio if share is None else risk_ratio_of_hazards(ratio, share) for ratio in (value, *ends)]
    return {name: {**log, "value": value, "interval": ends or None}, "e_value": e_value(risks[0], risks[1:] or None)}
