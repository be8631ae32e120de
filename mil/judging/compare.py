"""Two models on the same cases: every figure's difference, paired, with what remains after many comparisons."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mil.errors import MetricError
from mil.judging.cases import Asked, Cases
from mil.judging.delong import delong
from mil.judging.figure import Json, clean, figure, figures
from mil.judging.judge import questions
from mil.judging.measures import measure
from mil.judging.validation import corrected_t, holm
from mil.tasks.task import Task


def compare(task: Task, first: Cases, second: Cases, asked: Asked) -> Json:
    """Compare two models on the cases that both judged.

    Args:
        task: What both learnt.
        first: Of one model.
        second: Of the other, the same cases in the same order.
        asked: How.

    Returns:
        Name of the question ("" for a single task) -> `differences` (figures, first less second, from resamples of
        both at once), `p` of each from the resamples and `delong` where there are two classes; `p_holm` is corrected
        for the number of questions that were asked.

    Raises:
        MetricError: The cases are not the same.
    """
    if first.patients != second.patients or not np.array_equal(first.targets, second.targets, equal_nan=True):
        raise MetricError("Two models can be compared on the same cases with the same labels alone.")
    found: dict[str, Json] = {}
    for question in questions(task):
        pair = question.of(first), question.of(second)
        known = np.flatnonzero(~np.isnan(pair[0].targets).any(axis=1))
        if known.size:
            found[question.name] = _pair(question.task, pair[0].take(known), pair[1].take(known), asked)
    adjusted = holm(np.array([np.nan if one["p"] is None else one["p"] for one in found.values()]))
    for one, p in zip(found.values(), adjusted, strict=True):
        one["p_holm"] = p
    return dict(clean(found))


def _pair(task: Task, first: Cases, second: Cases, asked: Asked) -> Json:
    one, other = measure(task, first), measure(task, second)
    resampling = asked.resampling(first, one.strata)
    estimate = resampling.intervals(lambda weights: one.statistic(weights) - other.statistic(weights))
    both = task.kind in {"binary", "multilabel"} and np.unique(first.targets).size == 2
    areas = delong(first.targets[:, 0], np.stack([first.scores, second.scores]), first.cluster) if both else None
    gap, low, high, p = (np.nan,) * 4 if areas is None else areas.difference()
    bootstrap = float(estimate.p[0])
    return {
        "n": len(first),
        "primary": one.names[0],
        "differences": figures(one.names, estimate),
        "bootstrap_p": bootstrap,
        "delong": None if areas is None else {**figure(gap, low, high), "p": p},
        "p": p if np.isfinite(p) else bootstrap if np.isfinite(bootstrap) else None,
    }


def by_fold(task: Task, cases: Cases, folds: NDArray[np.int64]) -> NDArray[np.float64]:
    """The first figure of each fold.

    Args:
        task: A single task.
        cases: Out-of-fold, one repeat.
        folds: In which fold each case was judged [N].

    Returns:
        One figure a fold; NaN where a fold has none.
    """
    values = []
    for fold in np.unique(folds):
        rows = np.flatnonzero((folds == fold) & ~np.isnan(cases.targets).any(axis=1))
        own = cases.take(rows) if rows.size else None
        values.append(np.nan if own is None else measure(task, own).statistic(np.ones((1, rows.size)))[0, 0])
    return np.array(values, np.float64)


def across_folds(head: NDArray[np.float64], baseline: NDArray[np.float64], folds: int) -> Json:
    """Means over folds and repeats, corrected for the training cases that folds share.

    Args:
        head: A figure a fold and repeat [J].
        baseline: The same of the baseline [J].
        folds: Folds of a repeat.

    Returns:
        The figures `head`, `baseline` and `difference`, the `p` of the difference, and `folds`.
    """
    share = 1 / (folds - 1) if folds > 1 else np.inf
    each = {name: corrected_t(values, share) for name, values in (("head", head), ("baseline", baseline))}
    gap = corrected_t(head - baseline, share)
    named = {name: figure(*values[:3]) for name, values in each.items()}
    return dict(clean({**named, "difference": figure(*gap[:3]), "p": gap[3], "folds": int(head.size)}))
