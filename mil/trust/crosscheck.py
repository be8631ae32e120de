"""How often sets hold the truth on patients that neither they nor the model saw: the coverage a report may print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mil.errors import CalibrationError
from mil.tasks.task import Task
from mil.trust.coverage import coverage, interval_coverage
from mil.trust.fit import fit_trust
from mil.trust.parts import parts_of
from mil.trust.questions import Question, questions_of


def cross_coverage(
    task: Task,
    logits: NDArray[np.floating[Any]],
    targets: NDArray[np.float32],
    patients: Sequence[str],
    alpha: float = 0.1,
) -> list[dict[str, Any]]:
    """Fit trust to four fifths of the patients, judge it on the last fifth, five times.

    Args:
        task: The task, settled.
        logits: Out of fold [N, C].
        targets: [N, T]; NaN where not known.
        patients: One a case [N].
        alpha: Share that may miss.

    Returns:
        A question: what `coverage` says of its sets, or `interval_coverage` of its intervals; empty for a hazard and
        for Cox, which have neither.

    Raises:
        CalibrationError: Too few patients of a class to hold any out; what `fit_trust` refuses ends in one too.
    """
    questions = questions_of(task)
    part = parts_of(patients, questions[0].truth(targets))
    if not part.any():
        raise CalibrationError("Coverage needs two patients of each class: one to fit to and one to judge on.")
    sets = [np.zeros((len(part), len(question.answers)), np.bool_) for question in questions]
    ends = np.zeros((len(questions), len(part), 2))
    for index in range(int(part.max()) + 1):
        out = part == index
        people = [patient for patient, held in zip(patients, out, strict=True) if not held]
        trusted = fit_trust(task, logits[~out], targets[~out], people, alpha).apply(logits[out])
        for row in range(len(questions)):
            own, own_ends = trusted.sets[row], trusted.intervals[row]
            sets[row][out] = False if own is None else own
            ends[row, out] = 0.0 if own_ends is None else own_ends
    return [
        _judge(question, own, own_ends, targets, patients)
        for question, own, own_ends in zip(questions, sets, ends, strict=True)
    ]


def _judge(
    question: Question,
    sets: NDArray[np.bool_],
    ends: NDArray[np.float64],
    targets: NDArray[np.float32],
    patients: Sequence[str],
) -> dict[str, Any]:
    if question.kind == "value":
        return interval_coverage(ends, question.wanted(targets)[:, 0].astype(np.float64), patients)
    return coverage(sets, question.truth(targets), patients) if question.answers else {}
