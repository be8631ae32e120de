"""Predictive or only prognostic: does the score change what treatment does, or does it foretell either way?

A prognostic score foretells the outcome of the untreated; a predictive one changes the effect of treatment, which is
the treatment-by-score interaction (Ballman 2015, JCO 33:3968). Logistic for yes and no, Cox for follow-up. Cases of one
patient are no independent witnesses: where there are any, errors are from a sandwich summed by patient.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mil.extra import library
from mil.judging.treatment_cases import Treated
from mil.judging.treatment_logistic import logistic, probabilities

TERMS: Final = ("treatment", "prognostic", "predictive")
SIGNIFICANT: Final = 0.05
SEPARATED: Final = "the model has no estimate: too few cases, or a column tells the outcome without an error"


def interaction(cases: Treated, patients: Sequence[str]) -> dict[str, object]:
    """Fit treatment, score, their product and the covariates.

    Args:
        cases: The cases.
        patients: Of each case [n].

    Returns:
        `scale` (log odds or log hazard ratio a standard deviation of the score), `treatment` (at the mean score),
        `prognostic` (score in the untreated) and `predictive` (the interaction), each with `value`, `interval`, `p`
        and `reason`; and a `reading`.
    """
    treated = cases.treated.astype(np.float64)
    design = np.column_stack([treated, cases.score, treated * cases.score, cases.covariates])
    names, cluster = np.unique(np.asarray(patients, np.str_), return_inverse=True)
    several = cluster if len(names) < len(cases) else None
    fit = _logistic if cases.times is None else _cox
    values, errors = fit(cases, design, several)
    terms = {name: _term(float(values[at]), float(errors[at])) for at, name in enumerate(TERMS)}
    scale = "log odds ratio" if cases.times is None else "log hazard ratio"
    return {"scale": scale, **terms, "reading": _reading(terms)}


Fit = tuple[NDArray[np.float64], NDArray[np.float64]]


def _logistic(cases: Treated, design: NDArray[np.float64], cluster: NDArray[np.intp] | None) -> Fit:
    """Coefficients and standard errors; `cluster` is the patient of each case where some have several."""
    full = np.column_stack([design, np.ones(len(cases))])
    if np.linalg.matrix_rank(full) < full.shape[1]:
        return np.full(3, np.nan), np.full(3, np.nan)
    values, covariance = logistic(np.ones((1, len(cases))), full, cases.outcome)
    spread = covariance[0]
    if cluster is not None:
        pulls = np.zeros((int(cluster.max()) + 1, full.shape[1]))
        np.add.at(pulls, cluster, full * (cases.outcome - probabilities(values, full)[0])[:, None])
        spread = spread @ (pulls.T @ pulls) @ spread
    return values[0], np.sqrt(np.diagonal(spread))


def _cox(cases: Treated, design: NDArray[np.float64], cluster: NDArray[np.intp] | None) -> Fit:
    """The same for follow-up; what does not converge is NaN."""
    frame = library("pandas").DataFrame(design).assign(time=cases.times, event=cases.outcome)
    how = {} if cluster is None else {"cluster_col": "patient", "robust": True}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            own = frame if cluster is None else frame.assign(patient=cluster)
            fitted = library("lifelines").CoxPHFitter().fit(own, "time", "event", **how)
    except (library("lifelines.exceptions").ConvergenceError, ValueError, Warning):
        return np.full(3, np.nan), np.full(3, np.nan)
    return fitted.params_.to_numpy(), fitted.standard_errors_.to_numpy()


def _term(value: float, error: float) -> dict[str, object]:
    """Wald's interval and test."""
    if not np.isfinite(value) or not error > 0:
        return {"value": None, "interval": None, "p": None, "reason": SEPARATED}
    half = NormalDist().inv_cdf(0.975) * error
    p = 2 * NormalDist().cdf(-abs(value / error))
    return {"value": value, "interval": [value - half, value + half], "p": p, "reason": None}


def _reading(terms: dict[str, dict[str, object]]) -> str:
    """What the two tests say, at 5 %."""
    ps = {name: term["p"] for name, term in terms.items()}
    if any(p is None for p in ps.values()):
        return "not known"
    found = [name for name in ("prognostic", "predictive") if float(str(ps[name])) < SIGNIFICANT]
    return " and ".join(found) or "neither"
