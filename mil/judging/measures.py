"""The figures of merit of each kind of task, all as functions of weights of the cases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mil.judging.agreement import AGREEMENT, agreement, quadratic_kappa, tables
from mil.judging.bootstrap import Statistic
from mil.judging.cases import Cases
from mil.judging.ranking import Ranking
from mil.judging.survival_concordance import concordance
from mil.judging.survival_outcomes import read_outcomes
from mil.judging.values import VALUES, agreement_of_values, coverage
from mil.tasks.task import Kind, Task

KEPT: Final = (0.90, 0.95)
"""Specificities and sensitivities at which the other one is read."""


@dataclass(frozen=True, eq=False)
class Measure:
    """What is computed of cases of one kind."""

    names: tuple[str, ...]
    """Of the figures; the first is the one that models are compared by, larger is better."""
    statistic: Statistic
    strata: NDArray[np.int64]
    """Within which patients are drawn [N]."""


def measure(task: Task, cases: Cases) -> Measure:
    """Choose the figures.

    Args:
        task: A single task, or one label of several.
        cases: Cases whose target is known.

    Returns:
        The figures.
    """
    return MEASURES[task.kind](task, cases)


def _binary(task: Task, cases: Cases) -> Measure:
    del task
    truth = cases.targets[:, 0]
    ranking = Ranking(truth, cases.scores)

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        read = [*(ranking.sensitivity_at(kept, weights) for kept in KEPT)]
        read += [ranking.specificity_at(kept, weights) for kept in KEPT]
        return np.column_stack([ranking.areas(weights), *read])

    names = [f"{one}_at_{other}_{kept:.0%}".rstrip("%") for one, other in _SIDES for kept in KEPT]
    return Measure(("auroc", "auprc", *names), statistic, truth.astype(np.int64))


_SIDES: Final = (("sensitivity", "specificity"), ("specificity", "sensitivity"))


def _multiclass(task: Task, cases: Cases) -> Measure:
    truth, classes = cases.targets[:, 0].astype(np.int64), len(task.classes)
    said = cases.probabilities.argmax(axis=1)
    rankings = [Ranking((truth == k).astype(np.float64), cases.probabilities[:, k]) for k in range(classes)]

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        each = np.column_stack([ranking.areas(weights)[:, 0] for ranking in rankings])
        there = np.isfinite(each)
        macro = np.where(there, each, 0.0).sum(1) / np.maximum(there.sum(1), 1)
        macro[~there.any(1)] = np.nan
        return np.column_stack([macro, agreement(tables(truth, said, classes, weights)), each])

    return Measure(("macro_auroc", *AGREEMENT, *(f"auroc: {name}" for name in task.classes)), statistic, truth)


def _ordinal(task: Task, cases: Cases) -> Measure:
    truth, classes = cases.targets[:, 0].astype(np.int64), len(task.classes)
    said = cases.probabilities.argmax(axis=1)

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        table = tables(truth, said, classes, weights)
        order = agreement_of_values(truth.astype(np.float64), cases.scores, weights)[:, [2, 3]]
        return np.column_stack([quadratic_kappa(table), agreement(table), order])

    return Measure(("quadratic_kappa", *AGREEMENT, "spearman", "mean_grades_apart"), statistic, truth)


def _regression(task: Task, cases: Cases) -> Measure:
    del task
    truth, said = cases.targets[:, 0], cases.probabilities
    several = said.shape[1] == 3

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        own = agreement_of_values(truth, said[:, 1 if several else 0], weights)
        return np.column_stack([own, coverage(truth, said[:, 0], said[:, 2], weights)]) if several else own

    names = (*VALUES, "interval_coverage", "interval_width") if several else VALUES
    return Measure(names, statistic, np.zeros(len(cases), np.int64))


def _survival(task: Task, cases: Cases) -> Measure:
    del task
    outcomes = read_outcomes(cases.targets[:, 0], cases.targets[:, 1], cases.scores)

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        free = np.ones((1, len(outcomes)))  # Harrell's C knows no censoring weights
        return concordance(weights, outcomes, free, np.inf)[0][:, None]

    return Measure(("harrell_c",), statistic, np.zeros(len(outcomes), np.int64))  # how many had the event is chance too


MEASURES: Final[dict[Kind, Callable[[Task, Cases], Measure]]] = {
    "binary": _binary,
    "multilabel": _binary,
    "multiclass": _multiclass,
    "ordinal": _ordinal,
    "regression": _regression,
    "survival": _survival,
}
"""Of a task with several labels one label at a time is judged, of several tasks one task."""
