"""What is minimised and how, in one value that the parts of the loop share."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from mil.tasks.cox import Cox
from mil.tasks.task import Task
from mil.training.coteaching import CoteachingSpec
from mil.training.objective import Objective
from mil.training.regions import RegionSpec
from mil.training.spec import TrainSpec

RISK_SET = 64
"""Least cases a step of Cox regression, which compares the cases of a batch: of 64 some ten die first of a few left."""


@dataclass(frozen=True, eq=False)
class Goal:
    """Everything that a fit follows, beside the head and the cases."""

    task: Task
    objective: Objective
    spec: TrainSpec
    seed: int = 0
    """Of order, drawn tiles and noise."""
    coteaching: CoteachingSpec = field(default_factory=CoteachingSpec)
    """How much two heads leave out, where there are two."""
    regions: RegionSpec = field(default_factory=RegionSpec)
    """How annotated tiles are used, where there are any."""

    @property
    def enough(self) -> TrainSpec:
        """The spec with a batch that is large enough to teach anything."""
        compares = any(isinstance(part.task, Cox) for part in self.task.parts)
        return replace(self.spec, batch=max(self.spec.batch, RISK_SET)) if compares else self.spec
