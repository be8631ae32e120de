"""What treatment did to the cases as a whole, as they came and with confounding weighed away."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mil.extra import library
from mil.judging.survival_resampling import figure
from mil.judging.treatment_cases import Treated
from mil.judging.treatment_evalue import e_value, risk_ratio_of_hazards

NO_RATIO: Final = "in one arm nobody, or everybody that counts, had the outcome"
NO_HAZARD: Final = "in one arm nobody had the event, or the weights do not exist"


def risks(weights: NDArray[np.float64], cases: Treated, draws: int) -> dict[str, object]:
    """Difference and ratio of the risks of an outcome that is yes or no.

    Args:
        weights: Of the cases [W, n], resampled.
        cases: The cases.
        draws: How many of the weightings are draws.

    Returns:
        The figures `risk_difference` and `risk_ratio`, and the `e_value` of the ratio.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        arms = [
            (weights * (cases.outcome & arm)).sum(1) / (weights * arm).sum(1) for arm in (cases.treated, ~cases.treated)
        ]
        logs = np.log(arms[0] / arms[1])
    return {
        "risk_difference": figure(arms[0] - arms[1], draws, "the weights do not exist"),
        **_ratio("risk_ratio", figure(logs, draws, NO_RATIO), None),
    }


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
        return _ratio("hazard_ratio", {"value": None, "interval": None, "reason": NO_HAZARD}, share)
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
