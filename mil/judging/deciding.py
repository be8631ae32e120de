"""Answers of yes or no at thresholds that were chosen elsewhere."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mil.judging.cases import Asked, Cases
from mil.judging.decisions import RATES, confusion, predictive_values, rates, wilson
from mil.judging.figure import Json, figures, number
from mil.judging.threshold import RULES, Threshold, choose, cross_fitted

ELSEWHERE = "out-of-fold cases of training"
OTHER_FOLDS = "the other folds"
NOWHERE = "there are no other cases to choose a threshold on"


def decide(rule: str, cases: Cases, asked: Asked) -> tuple[NDArray[np.bool_] | None, list[Threshold], str]:
    """Say yes or no.

    Args:
        rule: Of the threshold.
        cases: Whose target is known.
        asked: With the cases on which a threshold may be chosen.

    Returns:
        True for yes [N], the thresholds and where they were chosen; None where they cannot be.
    """
    other = asked.reference
    if other is not None:
        threshold = choose(rule, other.targets[:, 0], other.scores, other.patients)
        return threshold.apply(cases.scores, cases.patients), [threshold], ELSEWHERE
    if cases.folds is None or np.unique(cases.folds).size < 2:
        return None, [], NOWHERE
    return *cross_fitted(rule, cases.targets[:, 0], cases.scores, cases.patients, cases.folds), OTHER_FOLDS


def decisions(cases: Cases, asked: Asked) -> Json:
    """Judge the answers of every rule.

    Args:
        cases: Whose target is known.
        asked: How.

    Returns:
        Rule -> `chosen_on`, `cuts`, `counts`, `figures` with patient intervals, Wilson's where every patient has one
        case, and predictive values at the stated prevalence; null with a `reason` where no threshold may be chosen.
    """
    return {rule: _one(cases, asked, *decide(rule, cases, asked)) for rule in RULES}


def _one(
    cases: Cases, asked: Asked, said: NDArray[np.bool_] | None, used: list[Threshold], chosen_on: str
) -> Json | None:
    keys = ("cuts", "counts", "figures", "wilson", "predictive_values")
    if said is None:
        return dict.fromkeys(("chosen_on", *keys)) | {"reason": chosen_on}
    truth, answers = cases.targets[:, 0], said
    prevalence = math.nan if asked.prevalence is None else asked.prevalence

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        each = rates(confusion(truth, answers, weights))
        return np.column_stack([each, *predictive_values(each[:, 0], each[:, 1], prevalence)])

    estimate = asked.resampling(cases, truth.astype(np.int64)).intervals(statistic)
    named = figures((*RATES, "stated_ppv", "stated_npv"), estimate)
    stated = {"ppv": named.pop("stated_ppv"), "npv": named.pop("stated_npv"), "prevalence": asked.prevalence}
    counts = confusion(truth, said, np.ones((1, truth.size)))[0]
    return {
        "chosen_on": chosen_on,
        "cuts": [threshold.cut for threshold in used],
        "counts": dict(zip(("tp", "fp", "fn", "tn"), counts.astype(int).tolist(), strict=True)),
        "figures": named,
        "wilson": _wilson(cases, counts),
        "predictive_values": None if asked.prevalence is None else stated,
        "reason": None,
    }


def _wilson(cases: Cases, counts: NDArray[np.float64]) -> Json | None:
    """Intervals of proportions, for independent cases alone."""
    if len(set(cases.patients)) < len(cases):
        return None
    tp, fp, fn, tn = (float(count) for count in counts)
    each = {"sensitivity": (tp, tp + fn), "specificity": (tn, tn + fp), "ppv": (tp, tp + fp), "npv": (tn, tn + fn)}
    return {name: [number(end) for end in wilson(*pair)] for name, pair in each.items()}
