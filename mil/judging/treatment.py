"""Does a score say who should be treated? Asked only where a table says who was.

Everything here is observational unless treatment was drawn by lot: the document carries the caveats with the figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mil.judging.bootstrap import Resampling
from mil.judging.figure import figure
from mil.judging.treatment_cases import Covariates, Treated, read_treated
from mil.judging.treatment_effect import Weigh, hazards, risks
from mil.judging.treatment_interaction import interaction
from mil.judging.treatment_uplift import qini, qini_coefficient
from mil.judging.treatment_weighting import NO_OVERLAP, balance, effective, weigh

CAVEATS: Final = (
    "Treatment was not drawn by lot: who was treated differs from who was not, also in what no column holds.",
    "Weights correct for the covariates that were given; the E-value says how strong one that is missing must be.",
    "Interaction and uplift are of these cases; a score is predictive only when it is so again in a trial.",
    "Covariates must be known before treatment: one that treatment changes hides its effect.",
)


def judge_treatment(
    treated: ArrayLike,
    outcome: ArrayLike,
    score: ArrayLike,
    covariates: Covariates | None = None,
    *,
    times: ArrayLike | None = None,
    patients: Sequence[str] | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, object]:
    """Tell a predictive score from a prognostic one, and estimate what treatment did.

    Args:
        treated: 0 or 1 [n].
        outcome: 0 or 1 [n]: what treatment is meant to bring about, such as a response; with `times`, the event.
        score: Known before treatment [n].
        covariates: What else was known before it: column -> numbers, or texts that name groups [n]. They adjust the
            interaction and weigh confounding away.
        times: Until the event or last contact [n]; makes it follow-up.
        patients: Of each case [n], each its own where it is None; resamples draw patients.
        draws: Number of resamples.
        seed: Of the resamples.

    Returns:
        A JSON-able document: `interaction`, `uplift`, `effect` (as it came, and weighted), `weighting` and `caveats`.
    """
    cases = read_treated(treated, outcome, score, covariates or {}, times)
    names = [str(row) for row in range(len(cases))] if patients is None else patients
    resampling = Resampling.of(names, cases.treated.astype(np.int64), count=draws, seed=seed)

    def weighted(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return weigh(weights, cases) if cases.names else weights

    return {
        "n": len(cases),
        "treated": int(cases.treated.sum()),
        "outcomes": int(cases.outcome.sum()),
        "adjusted_for": list(cases.names),
        "interaction": interaction(cases, names),
        "uplift": _uplift(cases, resampling, weighted),
        "effect": {
            "crude": _effect(cases, resampling, lambda weights: weights, names),
            "weighted": _effect(cases, resampling, weighted, names),
        },
        "weighting": _weighting(weighted(np.ones((1, len(cases))))[0], cases),
        "caveats": list(CAVEATS),
    }


def _effect(cases: Treated, resampling: Resampling, weigh: Weigh, patients: Sequence[str]) -> dict[str, object]:
    if cases.times is None:
        return risks(cases, resampling, weigh)
    return hazards(weigh(np.ones((1, len(cases))))[0], cases, patients)


def _uplift(cases: Treated, resampling: Resampling, weigh: Weigh) -> dict[str, object]:
    """The curve and its area; at most a hundred points are kept of the curve."""
    if cases.times is not None:
        reason = "uplift is counted in outcomes that are yes or no, not in follow-up"
        return {"coefficient": figure(np.nan, reason=reason), "share": [], "gained": []}
    found = resampling.intervals(lambda weights: qini_coefficient(*qini(weigh(weights), cases))[:, None])
    value, (low, high) = float(found.value[0]), found.ends[:, 0].tolist()
    coefficient = figure(value, low, high, "" if np.isfinite(value) else NO_OVERLAP)
    curves = qini(weigh(np.ones((1, len(cases)))), cases)
    kept = np.unique(np.linspace(0, curves[0].shape[1] - 1, 101).round().astype(int))
    share, gained = (curve[0, kept].tolist() if np.isfinite(value) else [] for curve in curves)
    return {"coefficient": coefficient, "share": share, "gained": gained}


def _weighting(weights: NDArray[np.float64], cases: Treated) -> dict[str, object]:
    """How well the weights did their work."""
    why = "no covariates were given" if not cases.names else None if np.isfinite(weights).all() else NO_OVERLAP
    if why is not None:
        return {"reason": why, "balance": [], "effective_n": None, "largest_weight": None}
    return {
        "reason": None,
        "balance": balance(cases, weights),
        "effective_n": effective(cases, weights),
        "largest_weight": float(weights.max()),
    }
