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
    score: int | None
    """Column of the scores; None where the probability is the score."""

    def of(self, cases: Cases) -> Cases:
        """Its own numbers of the cases, known or not.

        Args:
            cases: Of the whole task.

        Returns:
            The cases of this question.
        """
        own = cases.probabilities[:, self.probabilities]
        ranked = own[:, 0] if self.score is None else cases.scores.reshape(len(cases), -1)[:, self.score]
        return replace(cases, targets=cases.targets[:, self.targets], probabilities=own, scores=ranked)


def questions(task: Task) -> list[Question]:
    """What a task asks.

    Args:
        task: Any task.

    Returns:
        One question for a single task, one a label, and those of every member of several tasks.
    """
    found, column = [], 0
    for number, part in enumerate(task.parts):
        width = len(part.task.classes) or part.task.outputs
        start = part.targets.start
        if part.task.kind == "multilabel":
            names = [f"{part.name}: {label}" if part.name else label for label in part.task.classes]
            spans = [(slice(start + i, start + i + 1), slice(column + i, column + i + 1)) for i in range(width)]
            found += [Question(name, part.task, *span, None) for name, span in zip(names, spans, strict=True)]
        else:
            found.append(Question(part.name, part.task, part.targets, slice(column, column + width), number))
        column += width
    return found


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
        scores: From `task.score` [N], of several tasks from `scores` [N, S].
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
    single = [(question, question.of(cases)) for question in questions(task)]
    if len(single) == 1 and not single[0][0].name:
        return {"kind": task.kind, **clean(_judge(task, single[0][1], how))}
    parts = {question.name: _part(question, own, how) for question, own in single}
    return {"kind": task.kind, "n": len(cases), "patients": len(set(patients)), "parts": clean(parts)}


def _part(question: Question, cases: Cases, asked: Asked) -> Json:
    """One of several; a label that nobody has is no reason to judge nothing."""
    other = asked.reference
    own = replace(asked, reference=None if other is None else question.of(other))
    try:
        return {"kind": question.task.kind, **_judge(question.task, cases, own)}
    except MetricError as error:
        return {"kind": question.task.kind, "n": 0, "figures": {}, "reason": str(error)}


def _judge(task: Task, everyone: Cases, asked: Asked) -> Json:
    cases, other = everyone.known(), asked.reference
    asked = replace(asked, reference=None if other is None else other.known())
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
