"""What a task is: columns of a table in, numeric targets; logits in, losses, probabilities and a score to rank by.

Targets are one float32 array [cases, T] for every task, NaN where a label is missing, so that samplers, folds and
stores need not know what is learnt.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import ClassVar, Literal, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mil.errors import ExperimentError

Kind = Literal["binary", "multiclass", "multilabel", "ordinal", "regression", "survival", "multitask"]
"""What is judged alike: `survival` is cox and hazard."""

TASKS: dict[str, str] = {
    "binary": "mil.tasks.binary:Binary",
    "multiclass": "mil.tasks.multiclass:Multiclass",
    "multilabel": "mil.tasks.multilabel:Multilabel",
    "ordinal": "mil.tasks.ordinal:Ordinal",
    "regression": "mil.tasks.regression:Regression",
    "cox": "mil.tasks.cox:Cox",
    "hazard": "mil.tasks.hazard:Hazard",
    "multitask": "mil.tasks.multitask:Multitask",
}
"""Name in the TOML -> module:attribute."""


@dataclass(frozen=True)
class Task(ABC):
    """A frozen description of what is learnt; subclasses add their own settings as fields.

    Build one with `mil.tasks.read.read_task` from the `[task]` table of an experiment, or directly; settings that
    contradict each other are an `ExperimentError`.
    """

    kind: ClassVar[Kind]

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """Columns of the table of labels that `targets` reads."""

    @property
    @abstractmethod
    def outputs(self) -> int:
        """Number C of logits a head must give."""

    @property
    @abstractmethod
    def width(self) -> int:
        """Number T of numbers a target has."""

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """Names of the K classes that `probabilities` speaks of; () where there are none."""

    @abstractmethod
    def targets(self, table: Mapping[str, Sequence[str]]) -> NDArray[np.float32]:
        """Turn columns of text into numbers.

        Args:
            table: Column -> one text a case, "" where it is not known.

        Returns:
            Targets [cases, T], NaN where not known. A column that is not there is a `LabelError` that names it; a text
            that the task does not know is one that names the row and the column, never the text.
        """

    @abstractmethod
    def check(self, targets: NDArray[np.float32]) -> None:
        """See that something can be learnt: both classes are there, an event, two values.

        Args:
            targets: [cases, T]. Where nothing can be learnt from them, a `LabelError` says what is lacking.
        """

    def fit_to(self, targets: NDArray[np.float32]) -> Task:
        """Settle what depends on the training cases (bins of time, scale of a regression).

        Args:
            targets: Of the training cases alone [cases, T].

        Returns:
            A task whose losses can be computed; this one where nothing depends on them.
        """
        del targets
        return self

    @property
    def parts(self) -> tuple[Part, ...]:
        """The single tasks in it, so that losses and figures treat one and several alike: this one alone."""
        return (Part("", self, 1.0, slice(0, self.outputs), slice(0, self.width)),)

    @property
    def learns_weights(self) -> bool:
        """Whether the weights of the parts are learnt beside the head; no."""
        return False

    def known(self, targets: Tensor) -> Tensor:
        """Which cases say anything.

        Args:
            targets: [B, T].

        Returns:
            bool [B]: True where no number of the target is missing, unless a subclass knows better.
        """
        return ~targets.isnan().any(dim=1)

    @abstractmethod
    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss of each case.

        Args:
            logits: [B, C].
            targets: [B, T]; NaN where missing.

        Returns:
            float32 [B]; exactly 0, without a gradient, where the case says nothing.
        """

    @abstractmethod
    def strata(self, targets: NDArray[np.float32]) -> NDArray[np.int64]:
        """A small whole number for each case, by which folds and batches are balanced.

        Args:
            targets: [cases, T].

        Returns:
            int64 [cases]: the class, the event, or a quantile; -1 where not known.
        """

    def one_hot(self, targets: Tensor) -> Tensor | None:
        """True classes of each case, for heads whose own loss needs them (CLAM).

        Args:
            targets: [B, T].

        Returns:
            bool [B, C], all False where not known; None where the task has no classes.
        """
        del targets
        return None

    @abstractmethod
    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """What the logits mean.

        Args:
            logits: [cases, C].

        Returns:
            float64 [cases, K]: probability of each class (binary: of the positive one, K = 1; hazard: survival at the
            end of each interval; regression: the quantiles or the value; Cox: the log hazard ratio).
        """

    @abstractmethod
    def score(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """One number a case to rank by, larger for more positive, worse grade, greater value or greater risk.

        Args:
            logits: [cases, C].

        Returns:
            float64 [cases].
        """


@dataclass(frozen=True)
class Part:
    """One single task and where its numbers stand."""

    name: str
    """"" where it is the whole."""
    task: Task
    weight: float
    """Of its loss."""
    logits: slice
    """Its columns of the logits [:, C]."""
    targets: slice
    """Its columns of the targets [:, T]."""


def task_class(name: str) -> type[Task]:
    """Find a task.

    Args:
        name: A name in `TASKS`.

    Returns:
        The class.

    Raises:
        ExperimentError: There is none of that name.
    """
    if name not in TASKS:
        raise ExperimentError(f"There is no task of kind {name}; there are {', '.join(sorted(TASKS))}.")
    module, attribute = TASKS[name].split(":")
    return cast("type[Task]", getattr(import_module(module), attribute))
