"""The judge: what is true and what was said in, every figure of merit that the kind of task has out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mil.errors import MetricError
from mil.judging.cases import Asked, Cases
from mil.judging.deciding import decide
from mil.judging.details import DETAILS
from mil.judging.figure import Json, clean, figures
from mil.judging.measures import measure
from mil.judging.subgroups import subgroups
from mil.tasks.task import Task

DECISION = "youden"
"""The rule whose answers are compared between groups."""


@dataclass(frozen=True, eq=False)
class Question:
    """One thing that is asked of the cases: the whole task, one of several tasks, or one of several labels."""

    name: str
    """"" where it is the whole."""
    task: Task
    targets: slice
    probabilities: slice
    number: int
    """Which of the questions, from 0."""

    def of(self, cases: Cases) -> Cases:
        """Its own numbers of the cases, known or not.

        Args:
            cases: Of the whole task.

        Returns:
            The cases of this question.
        """
        own = cases.probabilities[:, self.probabilities]
        ranked = cases.scores if cases.scores.ndim == 1 else cases.scores[:, self.number]
        return replace(cases, targets=cases.targets[:, self.targets], probabilities=own, scores=ranked)


def questions(task: Task) -> list[Question]:
    """What a task asks.

    Args:
        task: Any task.

    Returns:
        One question for a single task, one a label, and those of every member of several tasks.
    """
    found: list[Question] = []
    column = 0
    for part in task.parts:
        width = len(part.task.classes) or part.task.outputs
        start = part.targets.start
        if part.task.kind == "multilabel":
            names = [f"{part.name}: {label}" if part.name else label for label in part.task.classes]
            spans = [(slice(start + i, start + i + 1), slice(column + i, column + i + 1)) for i in range(width)]
            pairs = zip(names, spans, strict=True)
            found += [Question(name, part.task, *span, len(found) + i) for i, (name, span) in enumerate(pairs)]
        else:
            found.append(Question(part.name, part.task, part.targets, slice(column, column + width), len(found)))
        column += width
    return found


def scores_of(task: Task, logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """What the cases are ranked by, one column a question.

    Args:
        task: Any task.
        logits: [N, C].

    Returns:
        [N, Q].
    """
    found = []
    for part in task.parts:
        own = logits[:, part.logits]
        found.append(own.astype(np.float64) if part.task.kind == "multilabel" else part.task.score(own)[:, None])
    return np.concatenate(found, axis=1)


def judge(
    task: Task,
    targets: NDArray[np.floating],
    probabilities: NDArray[np.floating],
    scores: NDArray[np.floating],
    patients: Sequence[str],
    *,
    groups: Mapping[str, Sequence[str]] | None = None,
    folds: NDArray[np.int64] | None = None,
    asked: Asked | None = None,
) -> Json:
    """Judge what a model said.

    Args:
        task: What was learnt, settled.
        targets: [N, T], NaN where not known.
        probabilities: From `task.probabilities`, best of calibrated logits [N, K].
        scores: From `scores_of` [N, Q], or of one question [N].
        patients: Of each case [N]; resamples draw patients.
        groups: Column -> text of each case: figures by group.
        folds: In which fold each case was judged, where these are out-of-fold [N]; thresholds of a fold are then chosen
            on the others.
        asked: How; with `reference`, thresholds are chosen there, and a patient who is in both is a `MetricError`.

    Returns:
        A strict JSON document: `kind`, `n`, `patients`, `unknown`, `primary`, `figures`, `subgroups` and what the kind
        has beside; of several labels or tasks `parts`, one such document each.
    """
    cases = Cases(
        np.asarray(targets, np.float64),
        np.asarray(probabilities, np.float64),
        np.asarray(scores, np.float64),
        tuple(patients),
        groups or {},
        folds,
    )
    how = asked or Asked()
    asks = questions(task)
    if len(asks) == 1 and not asks[0].name:
        return {"kind": task.kind, **clean(_judge(asks[0], cases, how))}
    parts = {question.name: _part(question, cases, how) for question in asks}
    return {"kind": task.kind, "n": len(cases), "patients": len(set(patients)), "parts": clean(parts)}


def _part(question: Question, cases: Cases, asked: Asked) -> Json:
    """One of several; a label that nobody has is no reason to judge nothing."""
    try:
        return {"kind": question.task.kind, **_judge(question, cases, asked)}
    except MetricError as error:
        return {"kind": question.task.kind, "n": 0, "figures": {}, "reason": str(error)}


def _judge(question: Question, everyone: Cases, asked: Asked) -> Json:
    task, cases, other = question.task, question.of(everyone).known(), asked.reference
    asked = replace(asked, reference=None if other is None else question.of(other).known())
    own = measure(task, cases)
    yes_or_no = task.kind in {"binary", "multilabel"}
    said = decide(DECISION, cases, asked)[0] if yes_or_no and cases.groups else None
    return {
        "n": len(cases),
        "patients": len(set(cases.patients)),
        "unknown": len(everyone) - len(cases),
        "primary": own.names[0],
        "figures": figures(own.names, asked.resampling(cases, own.strata).intervals(own.statistic)),
        "reason": None,
        **DETAILS[task.kind](task, cases, asked),
        "subgroups": {column: subgroups(task, cases, column, asked, said) for column in cases.groups},
    }
