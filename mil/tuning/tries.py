"""What workers do: judge one setting on one fold. Pure functions of frozen descriptions, the same bits each time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mil.errors import FoldError
from mil.experiment.experiment import Experiment
from mil.experiment.figure import comparisons, figure_of
from mil.experiment.fold import Development, fit_fold, prepare
from mil.folds import FoldSpec, make_folds

ALL = -1
"""Instead of an outer fold: all cases that training may see."""


@dataclass(frozen=True)
class Try:
    """One fold of one trial."""

    base: Experiment
    """Says which cases there are."""
    experiment: Experiment
    """Says how is learnt."""
    outer: int
    """Outer fold whose cases are left out, or `ALL` where none are."""
    inner: FoldSpec
    """How the rest are split."""
    fold: int
    """The inner fold that judges; or, with `final`, not looked at."""
    final: bool = False
    """Learn from all but the outer fold, and be judged on that."""


@dataclass(frozen=True)
class Judged:
    """What came of it."""

    figure: float
    """Share of pairs ranked rightly, by which runs are compared as well."""
    weights: int
    """Numbers that the head has learnt."""


def judge_try(item: Try) -> Judged:
    """Fit and judge.

    Args:
        item: What.

    Returns:
        The figure. Settings that cannot be learnt with end in a `MilError`.

    Raises:
        FoldError: No two cases of the fold can be ranked.
    """
    data = development(item.base) if item.final else _inside(item.base, item.outer)
    folds = outer_folds(item.base) if item.final else _split(data, item.inner)
    fold = item.outer if item.final else item.fold
    if item.final:
        data = replace(data, task=item.base.task.fit_to(data.targets[folds != fold]))
    found = fit_fold(item.experiment, data, folds, fold, seed=item.base.seeds[0])
    pairs = comparisons(data.task, data.targets[found.rows], found.logits)
    figure = figure_of(pairs, np.ones(len(found.rows)))
    if np.isnan(figure):
        raise FoldError("A fold has no two cases that can be ranked; fewer folds have more.")
    return Judged(figure, sum(parameter.numel() for parameter in found.fit.head.parameters()))


@lru_cache(maxsize=1)  # all tries of a tuning ask for the same
def development(base: Experiment) -> Development:
    """Read the cases that training may see.

    Args:
        base: The experiment.

    Returns:
        The cases.
    """
    return prepare(base)


@lru_cache(maxsize=1)
def outer_folds(base: Experiment) -> NDArray[np.int64]:
    """The folds of the experiment, which judge the tuning.

    Args:
        base: The experiment.

    Returns:
        int64 [cases].
    """
    return _split(development(base), base.folds)


@lru_cache(maxsize=2)
def _inside(base: Experiment, outer: int) -> Development:
    """Cases outside an outer fold; what depends on the cases is settled by them alone."""
    whole = development(base)
    if outer == ALL:
        return whole
    part = whole.part(np.flatnonzero(outer_folds(base) != outer))
    return replace(part, task=base.task.fit_to(part.targets))


def _split(data: Development, spec: FoldSpec) -> NDArray[np.int64]:
    """The first repeat, [cases]."""
    folds: NDArray[np.int64] = make_folds(data.patients, data.centres, data.strata, spec)[0]
    return folds
