"""The questions a task asks, each with its own columns of logits: what is calibrated and gets a set of answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mil.tasks.multitask import Multitask
from mil.tasks.task import Task

QuestionKind = Literal["binary", "multiclass", "ordinal", "hazard", "value", "risk"]


@dataclass(frozen=True)
class Question:
    """One thing with one truth a case."""

    kind: QuestionKind
    """`hazard`: survival in intervals; `value`: a regression; `risk`: Cox, a log hazard ratio without a baseline."""
    task: Task
    """What makes probabilities and losses of its logits; of several labels, the task of all."""
    logits: tuple[int, int]
    """Its columns of the logits: the first, and one after the last."""
    targets: tuple[int, int]
    """Its columns of the targets."""
    answers: tuple[str, ...] = ()
    """Names of the possible answers, for people; () where the truth is a number or a time."""

    def part(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Its own logits.

        Args:
            logits: All [N, C].

        Returns:
            [N, c].
        """
        return logits[:, slice(*self.logits)]

    def wanted(self, targets: NDArray[np.float32]) -> NDArray[np.float32]:
        """Its own targets.

        Args:
            targets: All [N, T].

        Returns:
            [N, t].
        """
        return targets[:, slice(*self.targets)]

    def truth(self, targets: NDArray[np.float32]) -> NDArray[np.int64]:
        """Which answer is true.

        Args:
            targets: All [N, T].

        Returns:
            int64 [N]: index of the answer (0 where there are no answers), -1 where not known.
        """
        own = self.wanted(targets)
        unknown = np.isnan(own).any(axis=1)
        return np.where(unknown, -1, np.nan_to_num(own[:, 0]) if self.answers else 0).astype(np.int64)

    def values(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the task makes of the logits.

        Args:
            logits: All, calibrated [N, C].

        Returns:
            float64 [N, K]: the probability of each answer, 1 in sum; survival, quantiles or the value where there are
            no answers.
        """
        own = self.part(logits)
        if self.kind == "binary":
            yes = np.exp(-np.maximum(-own, 0.0) - np.log1p(np.exp(-np.abs(own))))
            return np.asarray(np.hstack([1.0 - yes, yes]))
        return self.task.probabilities(own.astype(np.float32))


def questions_of(task: Task) -> tuple[Question, ...]:
    """List what a task asks.

    Args:
        task: Any.

    Returns:
        One question, but one a label for several labels, and those of its members for several tasks.
    """
    if not isinstance(task, Multitask):
        return _questions(task, 0, 0)
    return tuple(
        question for part in task.parts for question in _questions(part.task, part.logits.start, part.targets.start)
    )


def _questions(task: Task, logits: int, targets: int) -> tuple[Question, ...]:
    if task.kind in {"binary", "multilabel"}:
        names = ("negative", "positive")
        return tuple(
            Question("binary", task, (logits + row, logits + row + 1), (targets + row, targets + row + 1), names)
            for row in range(task.outputs)
        )
    kind: QuestionKind = "value" if task.kind == "regression" else "hazard" if task.outputs > 1 else "risk"
    if task.kind == "multiclass" or task.kind == "ordinal":  # noqa: PLR1714 - mypy narrows no membership
        kind = task.kind
    return (Question(kind, task, (logits, logits + task.outputs), (targets, targets + task.width), task.classes),)
