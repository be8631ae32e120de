"""Fitting trust to logits out of fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mil.errors import CalibrationError
from mil.tasks.task import Task
from mil.trust.calibrate import Calibration, calibrate
from mil.trust.conformal import Conformal, fit_conformal
from mil.trust.corrections import Corrections
from mil.trust.intervals import Intervals, fit_intervals
from mil.trust.questions import Question, questions_of
from mil.trust.trust import Trust


def fit_trust(
    task: Task,
    logits: NDArray[np.floating[Any]],
    targets: NDArray[np.float32],
    patients: Sequence[str],
    alpha: float = 0.1,
) -> Trust:
    """Fit calibration, and conformal sets or intervals on top of it.

    Args:
        task: The task, settled.
        logits: Out of fold: of a model that was not trained on the case [N, C].
        targets: [N, T]; NaN where not known.
        patients: One a case [N].
        alpha: Share of sets, or of intervals, that may miss the truth.

    Returns:
        The trust.

    Raises:
        CalibrationError: The arrays do not fit the task, a logit is not finite (names the case), or only one class is
            known. Of several questions one may lack a class: it stays uncalibrated, and no answer is excluded.
    """
    given = np.asarray(logits, np.float64)
    if given.shape != (len(patients), task.outputs) or targets.shape != (len(patients), task.width):
        raise CalibrationError(
            f"{len(patients)} patients' rows need {task.outputs} logits and {task.width} targets each; "
            f"given are {given.shape} and {targets.shape}."
        )
    bad = ~np.isfinite(given).all(axis=1)
    if bad.any():
        raise CalibrationError(f"Case {int(bad.argmax())} has a logit out of fold that is not a number.")
    cases, questions = _Cases(targets, patients, float(alpha)), questions_of(task)
    alone = len(questions) == 1
    maps = tuple(_calibration(cases, question, given, alone=alone) for question in questions)
    if not any(maps) and any(question.kind not in {"value", "risk"} for question in questions):
        raise CalibrationError("Calibration needs cases of two classes out of fold, and no label has them.")
    nothing = (None,) * len(questions)
    after = Trust(task, Corrections(cases.alpha, maps, nothing, nothing)).calibrated(given)
    sets = tuple(_sets(cases, *pair, after) for pair in zip(questions, maps, strict=True))
    ends = tuple(_intervals(cases, question, after) for question in questions)
    return Trust(task, Corrections(cases.alpha, maps, sets, ends))


@dataclass(frozen=True, eq=False)
class _Cases:
    """What corrections are fitted to, beside the logits."""

    targets: NDArray[np.float32]
    patients: Sequence[str]
    alpha: float


def _calibration(cases: _Cases, question: Question, logits: NDArray[np.float64], *, alone: bool) -> Calibration | None:
    truth = question.truth(cases.targets)
    lacking = len(np.unique(truth[truth >= 0])) < (2 if question.answers else 1)
    if question.kind in {"value", "risk"} or (lacking and not alone):
        return None
    return calibrate(question, logits, cases.targets, cases.patients)


def _sets(
    cases: _Cases, question: Question, calibration: Calibration | None, after: NDArray[np.float64]
) -> Conformal | None:
    if not question.answers:
        return None
    if calibration is None:  # a class that was never seen must not be all that is left
        return Conformal(cases.alpha, (None,) * len(question.answers), (0,) * len(question.answers), contiguous=False)
    each, truth = question.values(after), question.truth(cases.targets)
    return fit_conformal(each, truth, cases.patients, cases.alpha, contiguous=question.kind == "ordinal")


def _intervals(cases: _Cases, question: Question, after: NDArray[np.float64]) -> Intervals | None:
    if question.kind != "value":
        return None
    truth = question.wanted(cases.targets)[:, 0].astype(np.float64)
    return fit_intervals(question.values(after), truth, cases.patients, cases.alpha)
