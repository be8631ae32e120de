"""What workers do: judge one setting on one fold. Pure functions of frozen descriptions, the same bits each time."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mil.errors import FoldError
from mil.experiment.experiment import Experiment
from mil.experiment.figure import comparisons, figure_of
from mil.experiment.fold import fit_fold
from mil.folds import FoldSpec
from mil.tuning.cases import Source, development, inside, outer_folds, split


@dataclass(frozen=True)
class Try:
    """One fold of one trial."""

    source: Source
    """Which cases there are."""
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
    if item.final:
        data, folds, fold = development(item.source), outer_folds(item.source), item.outer
        data = replace(data, task=item.source.base.task.fit_to(data.targets[folds != fold]))
    else:
        data, fold = inside(item.source, item.outer), item.fold
        folds = split(data, item.inner)
    found = fit_fold(item.experiment, data, folds, fold, seed=item.source.base.seeds[0])
    pairs = comparisons(data.task, data.targets[found.rows], found.logits)
    figure = figure_of(pairs, np.ones(len(found.rows)))
    if np.isnan(figure):
        raise FoldError("A fold has no two cases that can be ranked; fewer folds have more.")
    return Judged(figure, sum(parameter.numel() for parameter in found.fit.head.parameters()))
