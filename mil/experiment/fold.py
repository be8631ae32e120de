"""One fold of an experiment: pure functions from cases to a fitted head and what it says of cases it has not seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mil.batch import pin_threads
from mil.experiment.baseline import Baseline, fit_baseline
from mil.experiment.development import Development
from mil.experiment.experiment import Experiment
from mil.folds import FoldSpec, hold_out, make_folds
from mil.head import build_head
from mil.infer import predict_cohort
from mil.train import Fit
from mil.training.drawing import Cases
from mil.training.goal import Goal
from mil.training.loop import Loop, Report
from mil.training.objective import build_objective
from mil.training.pooled import standardise

INNER = 5
"""Folds inside the training cases that choose the penalty of the linear model; fewer where a class has few patients."""


@dataclass(frozen=True, eq=False)
class FoldFit:
    """What one fold and seed gave."""

    fit: Fit
    history: tuple[dict[str, float], ...]
    """Losses of each epoch."""
    rows: NDArray[np.int64]
    """Cases that it was judged on."""
    logits: NDArray[np.float32]
    """Of these [rows, C]."""


def fit_fold(
    experiment: Experiment,
    data: Development,
    folds: NDArray[np.int64],
    fold: int,
    *,
    seed: int = 0,
    report: Report | None = None,
) -> FoldFit:
    """Fit one member: the head learns from the other folds, a part of which chooses the epoch, and is judged on this.

    Args:
        experiment: Head, training and objective are used.
        data: The cases.
        folds: Fold of each case [cases].
        fold: Which of them is held out.
        seed: Of everything that chance decides.
        report: Told the validation loss of each epoch; may raise to end the fit.

    Returns:
        The same bits for the same arguments.
    """
    rest, rows = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
    known = data.part(rest)
    share = experiment.training.validation
    held = (
        hold_out(known.patients, known.centres, known.strata, share, seed) if share else np.zeros(len(rest), np.bool_)
    )
    learn, choose = (known.part(np.flatnonzero(mine)) for mine in (~held, held))
    pin_threads()
    source, task, spec = data.cohort.source, data.task, experiment.training
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(np.random.SeedSequence([seed, fold]).generate_state(1)[0]))
        heads = [
            build_head(experiment.head, source.width, task.outputs, dict(experiment.settings))
            for _ in range(2 if experiment.coteaching.noise else 1)
        ]
        for one in heads:
            standardise(one, learn.pooled)
        head, *twin = heads
        objective = build_objective(task, experiment.objective, learn.targets)
        goal = Goal(task, objective, spec, seed, experiment.coteaching, experiment.regions)
        teach, judge = (Cases(part.cohort, part.targets, part.marks) for part in (learn, choose))
        trained = Loop(head, teach, judge, goal, *twin).run(report)
    head.requires_grad_(requires_grad=False).eval()
    metrics = trained.metrics | {"train_cases": len(learn.cohort), "validation_cases": len(choose.cohort)}
    fit = Fit(experiment.head, head, spec, source.encoder, source.mpp, metrics, task)
    return FoldFit(fit, trained.history, rows, predict_cohort(fit, data.cohort.subset(rows)))


def fit_fold_baseline(
    data: Development, folds: NDArray[np.int64], fold: int
) -> tuple[Baseline, NDArray[np.int64], NDArray[np.float32]]:
    """Fit the linear model of one fold to the same training cases, those that choose the head's epoch among them.

    Args:
        data: The cases.
        folds: Fold of each case [cases].
        fold: Which of them is held out.

    Returns:
        The model, the cases it was judged on, and their logits [rows, C].
    """
    rest, rows = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
    known = data.part(rest)
    each = [
        len({known.patients[row] for row in np.flatnonzero(known.strata == one)}) for one in set(known.strata) - {-1}
    ]
    spec = FoldSpec(count=max(2, min([INNER, *each])))
    inner = make_folds(known.patients, known.centres, known.strata, spec)[0]
    pin_threads()
    model = fit_baseline(data.task, known.pooled, known.targets, inner)
    return model, rows, model.of(data.pooled.rows(rows))
