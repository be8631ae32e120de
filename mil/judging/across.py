"""Figures across folds, and from the cases of training to those of elsewhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mil.errors import MetricError
from mil.experiment.out_of_fold import OutOfFold
from mil.judging.cases import Asked, Cases
from mil.judging.compare import across_folds, by_fold
from mil.judging.figure import Json, clean, figure
from mil.judging.judge import questions, scores_of
from mil.judging.measures import measure
from mil.tasks.task import Task

FAR = 1_000_003
"""Between the seeds of two cohorts, so that their resamples are independent."""


def cross_validation(task: Task, found: OutOfFold) -> dict[str, Json]:
    """Head and baseline fold by fold.

    Args:
        task: Of the run.
        found: Its predictions.

    Returns:
        Name of the question -> mean over folds and repeats, corrected for shared training cases.
    """
    each: dict[str, Json] = {}
    for question in questions(task):
        values: list[list[NDArray[np.float64]]] = [[], []]
        for repeat, folds in enumerate(found.folds):
            for place, logits in enumerate((found.by_repeat[repeat], found.baseline_by_repeat[repeat])):
                said = task.probabilities(logits)
                cases = Cases(found.targets.astype(np.float64), said, scores_of(task, logits), found.patients)
                values[place].append(by_fold(question.task, question.of(cases), folds))
        count = int(np.unique(found.folds[0]).size)
        each[question.name] = across_folds(np.concatenate(values[0]), np.concatenate(values[1]), count)
    return each


def drop(task: Task, before: Cases, after: Cases, asked: Asked) -> dict[str, Json]:
    """What a model loses on cases of elsewhere.

    Args:
        task: Of the run.
        before: Out of fold.
        after: Of elsewhere.
        asked: How.

    Returns:
        Name of the question -> the first figure `before`, `after`, and their difference with its interval.
    """
    found: dict[str, Json] = {}
    for question in questions(task):
        values, drawn, name = [], [], ""
        for place, cases in enumerate((before, after)):
            try:
                own = question.of(cases).known()
            except MetricError:
                continue
            judged = measure(question.task, own)
            how = Asked(count=asked.count, seed=asked.seed + place * FAR)
            values.append(float(judged.statistic(np.ones((1, len(own))))[0, 0]))
            drawn.append(how.resampling(own, judged.strata).drawn(lambda w, one=judged: one.statistic(w)[:, :1]))  # type: ignore[misc]
            name = judged.names[0]
        if len(values) == 2:
            gap = (drawn[1] - drawn[0])[:, 0]
            ends = np.quantile(gap, [0.025, 0.975]) if np.isfinite(gap).all() else (np.nan, np.nan)
            lost = figure(values[1] - values[0], float(ends[0]), float(ends[1]))
            found[question.name] = {"figure": name, "before": values[0], "after": values[1], "change": lost}
    return dict(clean(found))
