"""One fold of an experiment: pure functions from cases to a fitted head and what it says of cases it has not seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mil.batch import pin_threads
from mil.cohort.cohort import Cohort
from mil.experiment.baseline import Baseline, fit_baseline
from mil.experiment.experiment import Experiment
from mil.experiment.sealed import seal_table
from mil.folds import FoldSpec, hold_out, make_folds
from mil.head import build_head
from mil.infer import predict_cohort
from mil.tasks.task import Task
from mil.train import Fit
from mil.training.coteaching import check_coteaching
from mil.training.drawing import Cases
from mil.training.goal import Goal
from mil.training.loop import Loop, Report
from mil.training.objective import build_objective
from mil.training.pooled import Pooled, pool_cohort, standardise
from mil.training.regions import Marks, join_regions, read_regions

INNER = 5
"""Folds inside the training cases that choose the penalty of the linear model; fewer where a class has few patients."""

FEW = 10
"""Patients, of whom each of five folds and their parts would have one or none."""


@dataclass(frozen=True, eq=False)
class Development:
    """The cases that may be learnt from, read once for all folds."""

    cohort: Cohort
    targets: NDArray[np.float32]
    """[cases, T]."""
    task: Task
    """Settled. Bins of time and scales are of all these cases, so that the logits of all folds mean the same."""
    pooled: Pooled
    seal: Mapping[str, object] | None = None
    """What a run keeps of the sealed cases, which are not among these; None where none are."""
    marks: tuple[Marks | None, ...] = ()
    """Annotated tiles of each case; () where no region is labelled."""

    @property
    def patients(self) -> tuple[str, ...]:
        """Of each case."""
        return tuple(case.patient for case in self.cohort.cases)

    @property
    def centres(self) -> tuple[str, ...]:
        """Of each case."""
        return tuple(case.centre for case in self.cohort.cases)

    @property
    def strata(self) -> NDArray[np.int64]:
        """Class, event or quantile of each case [cases], -1 where not known.

        Of several labels or tasks at once, what few patients have counts as not known: it must not forbid folds.
        """
        strata = self.task.strata(self.targets)
        if len(self.task.parts) == 1 and self.task.kind != "multilabel":
            return strata
        owners = {one: {self.patients[row] for row in np.flatnonzero(strata == one)} for one in set(strata.tolist())}
        return np.where([len(owners[one]) < FEW for one in strata.tolist()], -1, strata)

    def part(self, rows: NDArray[np.int64]) -> Development:
        """Some of the cases.

        Args:
            rows: Which.

        Returns:
            In that order.
        """
        marks = tuple(self.marks[row] for row in rows) if self.marks else ()
        return Development(self.cohort.subset(rows), self.targets[rows], self.task, self.pooled.rows(rows), marks=marks)


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


def prepare(experiment: Experiment) -> Development:
    """Read what training may see: labelled, not sealed.

    Args:
        experiment: What is learnt.

    Returns:
        The cases; labels that cannot be learnt from end in a `LabelError`, regions in no tile in a `CohortError`.
    """
    check_coteaching(experiment.task, experiment.coteaching)
    whole = experiment.cohort()
    cohort = experiment.development(whole)
    targets = experiment.task.targets(cohort.table)
    experiment.task.check(targets)
    task, spec = experiment.task.fit_to(targets), experiment.regions
    regions = read_regions(experiment.place / spec.file) if spec.file else None
    marks = () if regions is None else join_regions(regions, cohort, task, spec.tile)
    seal = None if experiment.test is None else seal_table(whole, experiment.sealed_rows(whole))
    return Development(cohort, targets, task, pool_cohort(cohort), seal, marks)


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
    spec = FoldSpec(count=max(2, min(INNER, *each)))
    inner = make_folds(known.patients, known.centres, known.strata, spec)[0]
    pin_threads()
    model = fit_baseline(data.task, known.pooled, known.targets, inner)
    return model, rows, model.of(data.pooled.rows(rows))
