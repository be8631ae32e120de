"""An experiment: everything that decides a run, frozen, as its TOML says it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mil.cohort.cohort import Cohort
from mil.cohort.read import read_cohort
from mil.cohort.spec import CohortSpec
from mil.errors import ExperimentError
from mil.experiment.sealed import SealedSpec, sealed_cases
from mil.folds import FoldSpec
from mil.head import Setting
from mil.tasks.task import Task
from mil.training.coteaching import CoteachingSpec
from mil.training.objective import ObjectiveSpec
from mil.training.regions import RegionSpec
from mil.training.spec import TrainSpec


@dataclass(frozen=True)
class DataSpec:
    """`[data]`: which bags and which labels."""

    bags: str
    """An .npz of bags or a folder of stores, below the root."""
    labels: str = ""
    """The CSV of labels, below the root; "" for the labels in the file of bags itself."""
    root: str = "."
    """`ONCOSCOPE_DATA` for the folder of that setting; any other is a folder beside the TOML."""
    slide: str = "slide_id"
    """Column of the table that names the slide."""
    patient: str = "patient"
    """Column that says whose it is."""
    centre: str = "centre"
    """Column that says where it was made; "" where the table does not."""
    where: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Column -> texts: only rows that have one of them."""
    unit: Literal["slide", "patient"] = "slide"
    """What is one case."""
    zooms: tuple[float, ...] = ()
    """Zooms of a folder of stores to join, um/px; () where they have one."""

    @property
    def cohort(self) -> CohortSpec:
        """How cases are made of it."""
        return CohortSpec(self.slide, self.patient, self.centre, dict(self.where), self.unit, self.zooms)


@dataclass(frozen=True)
class TrustSpec:
    """`[trust]`: what is promised beside a score."""

    alpha: float = 0.1
    """Share of cases whose set of answers may miss the truth."""

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise ExperimentError('"alpha" of [trust] must be between 0 and 1.')


@dataclass(frozen=True)
class Experiment:
    """What is learnt, from what, how, and how it is judged."""

    name: str
    purpose: str
    """What a score would be used for, in words; research only."""
    data: DataSpec
    task: Task
    head: str
    """A name in `mil.HEADS`."""
    place: Path
    """The folder that `data.bags` and `data.labels` are below."""
    settings: tuple[tuple[str, Setting], ...] = ()
    """Settings of the head that differ from its defaults."""
    training: TrainSpec = field(default_factory=TrainSpec)
    objective: ObjectiveSpec = field(default_factory=ObjectiveSpec)
    coteaching: CoteachingSpec = field(default_factory=CoteachingSpec)
    regions: RegionSpec = field(default_factory=RegionSpec)
    """Its file is below the same folder."""
    folds: FoldSpec = field(default_factory=FoldSpec)
    seeds: tuple[int, ...] = (0,)
    """One member of a fold each."""
    test: SealedSpec | None = None
    """Cases that neither training nor tuning may see."""
    trust: TrustSpec = TrustSpec()

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the table that the task and the seal read."""
        sealed = (self.test.column,) if self.test and self.test.column else ()
        return tuple(dict.fromkeys((*self.task.columns, *sealed)))

    def cohort(self, columns: Sequence[str] = ()) -> Cohort:
        """Read all cases, the sealed ones too.

        Args:
            columns: Further columns of the table to read.

        Returns:
            The cohort; what is wrong with the files is a `CohortError`.
        """
        wanted = tuple(dict.fromkeys((*self.columns, *columns)))
        labels = self.place / self.data.labels if self.data.labels else None
        return read_cohort(self.place / self.data.bags, labels, self.data.cohort, wanted)

    def development(self, cohort: Cohort) -> Cohort:
        """The cases that training and tuning may see: not sealed, with a label.

        Args:
            cohort: All cases.

        Returns:
            Some of them, in their order.
        """
        sealed = self.sealed_rows(cohort)
        return cohort.subset(np.flatnonzero(~sealed & self._labelled(cohort, ~sealed)))

    def sealed(self, cohort: Cohort) -> Cohort:
        """The cases of the sealed test; only what opens the seal may call this.

        Args:
            cohort: All cases.

        Returns:
            Some of them, in their order.
        """
        sealed = self.sealed_rows(cohort)
        return cohort.subset(np.flatnonzero(sealed & self._labelled(cohort, sealed)))

    def sealed_rows(self, cohort: Cohort) -> NDArray[np.bool_]:
        """Which cases are sealed; their labels are not looked at.

        Args:
            cohort: All cases.

        Returns:
            bool [cases].
        """
        return np.zeros(len(cohort), bool) if self.test is None else sealed_cases(self.test, cohort)

    def _labelled(self, cohort: Cohort, seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """True where the targets say anything at all: survival needs both its numbers, multi-task any of its tasks.

        Labels that may not be seen are read as not known.
        """
        import torch

        targets = self.task.targets(cohort.laid_out(self.task.columns, seen))[cohort.rows]
        return np.asarray(self.task.known(torch.from_numpy(targets)).numpy())
