"""The cases that may be learnt from: labelled, not sealed, read once for all folds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mil.cohort.cohort import Cohort
from mil.experiment.experiment import Experiment
from mil.experiment.sealed import seal_table
from mil.tasks.task import Task
from mil.training.coteaching import check_coteaching
from mil.training.pooled import Pooled, pool_cohort
from mil.training.regions import Marks, join_regions, read_regions

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
