"""The questions a task asks, each with its own columns of logits: what is calibrated and gets a set of answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mil.tasks.task import Task


@dataclass(frozen=True)
class Question:
    """One thing with one true answer a case."""

    kind: str
    """`binary`, `multiclass`, `ordinal` or `hazard`."""
    start: int
    """First of its columns of logits."""
    stop: int
    """One after the last."""
    target: int
    """Its column of the targets."""
    answers: tuple[str, ...]
    """Names of the possible answers, for people; () for a hazard, which has none."""

    def part(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Its own logits.

        Args:
            logits: Of the task [N, C].

        Returns:
            [N, stop - start].
        """
        return logits[:, self.start : self.stop]

    def truth(self, targets: NDArray[np.float32]) -> NDArray[np.int64]:
        """Which answer is true.

        Args:
            targets: Of the task [N, T].

        Returns:
            int64 [N]: index of the answer, -1 where not known; for a hazard 0 where the case is known.
        """
        if self.kind == "hazard":
            return np.where(np.isnan(targets).any(axis=1), -1, 0).astype(np.int64)
        return np.nan_to_num(targets[:, self.target], nan=-1.0).astype(np.int64)


def questions_of(task: Task) -> tuple[Question, ...]:
    """List what a task asks.

    Args:
        task: Any.

    Returns:
        One question for yes or no, classes, grades and a hazard in intervals; one a label for several labels; none
        where the output is no probability (a value, quantiles, a log hazard ratio).
    """
    if task.kind in {"binary", "multilabel"}:
        names = ("negative", "positive")
        return tuple(Question("binary", column, column + 1, column, names) for column in range(task.outputs))
    if task.kind in {"multiclass", "ordinal"}:
        return (Question(task.kind, 0, task.outputs, 0, task.classes),)
    if task.kind == "survival" and task.outputs > 1:  # Cox has one output, and no baseline to make it a probability
        return (Question("hazard", 0, task.outputs, 0, ()),)
    return ()


def chances(task: Task, question: Question, logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probability of each answer.

    Args:
        task: The task.
        question: One of its questions, not a hazard.
        logits: Of the whole task [N, C].

    Returns:
        float64 [N, K], 1 in sum.
    """
    probabilities = task.probabilities(logits.astype(np.float32))
    if question.kind == "binary":
        yes = probabilities[:, question.start]
        return np.column_stack([1.0 - yes, yes])
    return probabilities
