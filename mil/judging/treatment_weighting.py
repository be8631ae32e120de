"""Treated and untreated made alike in what is known of them: weights of inverse probability of the treatment they had.

Stabilised and trimmed (Cole & Hernan 2008, AJE 168:656). It removes confounding by the covariates that were given and
by no others.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from mil.judging.treatment_cases import Treated
from mil.judging.treatment_logistic import logistic, probabilities

TRIM: Final = (1.0, 99.0)
"""Percentiles beyond which weights are cut off, so that no single case decides."""
NO_OVERLAP: Final = "the covariates tell treated from untreated without an error, so that nobody can be compared"


def weigh(weights: NDArray[np.float64], cases: Treated) -> NDArray[np.float64]:
    """Fit the chance of treatment anew in each weighting.

    Args:
        weights: Of the cases [W, n].
        cases: The cases.

    Returns:
        These times the inverse of the chance of the treatment that was had [W, n]; NaN where there is no such fit.
    """
    design = np.column_stack([cases.covariates, np.ones(len(cases))])
    chance = probabilities(logistic(weights, design, cases.treated)[0], design)
    share = (weights * cases.treated).sum(1, keepdims=True) / weights.sum(1, keepdims=True)
    inverse = np.where(cases.treated, share / chance, (1 - share) / (1 - chance))
    low, high = np.percentile(inverse, TRIM, axis=1, keepdims=True)
    return np.asarray(weights * np.clip(inverse, low, high), np.float64)


def balance(cases: Treated, weights: NDArray[np.float64]) -> list[dict[str, object]]:
    """Standardised mean differences of covariates between treated and untreated (Austin 2009, Stat Med 28:3083).

    Args:
        cases: The cases.
        weights: [n].

    Returns:
        One a covariate: `covariate`, `before` and `after` weighting; beyond 0.1 is out of balance.
    """
    plain, weighed = _differences(cases, np.ones(len(cases))), _differences(cases, weights)
    return [
        {"covariate": name, "before": float(before), "after": float(after)}
        for name, before, after in zip(cases.names, plain, weighed, strict=True)
    ]


def effective(cases: Treated, weights: NDArray[np.float64]) -> dict[str, float]:
    """How many unweighted cases say as much (Kish 1965).

    Args:
        cases: The cases.
        weights: [n].

    Returns:
        Of the `treated` and the `untreated`.
    """
    arms = {"treated": weights[cases.treated], "untreated": weights[~cases.treated]}
    return {name: float(arm.sum() ** 2 / (arm**2).sum()) for name, arm in arms.items()}


def _differences(cases: Treated, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Difference of weighted means over the spread of the unweighted arms."""
    arms = (cases.treated, ~cases.treated)
    means = [np.average(cases.covariates[arm], axis=0, weights=weights[arm]) for arm in arms]
    spread = np.sqrt(np.mean([cases.covariates[arm].var(axis=0) for arm in arms], axis=0))
    difference: NDArray[np.float64] = means[0] - means[1]
    return np.divide(difference, spread, out=np.zeros_like(difference), where=spread > 0)
