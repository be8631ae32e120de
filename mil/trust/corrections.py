"""What is fitted and saved for one task: a calibration and a set of answers a question, or intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mil.trust.affine import Affine
from mil.trust.calibrate import Calibration
from mil.trust.conformal import Conformal
from mil.trust.intervals import Intervals
from mil.trust.questions import Question


@dataclass(frozen=True)
class Corrections:
    """What is saved."""

    alpha: float
    calibrations: tuple[Calibration | None, ...]
    """One a question; None for a value or a log hazard ratio, and where one of several questions lacks a class."""
    conformal: tuple[Conformal | None, ...]
    """One a question; None where there are no answers."""
    intervals: tuple[Intervals | None, ...]
    """One a question; None where it asks for no value."""

    def fit(self, questions: Sequence[Question]) -> bool:
        """Whether these are corrections of these questions.

        Args:
            questions: Of a task.

        Returns:
            True if there is one calibration and one set a question, as wide as it is.
        """
        if not len(self.calibrations) == len(self.conformal) == len(self.intervals) == len(questions):
            return False
        return all(
            _fits(question, calibration, sets) and (ends is None or question.kind == "value")
            for question, calibration, sets, ends in zip(
                questions, self.calibrations, self.conformal, self.intervals, strict=True
            )
        )


def _fits(question: Question, calibration: Calibration | None, sets: Conformal | None) -> bool:
    width, answers = question.logits[1] - question.logits[0], len(question.answers)
    if calibration and not isinstance(calibration.map, Affine) and question.kind != "binary":
        return False
    shifts = len(calibration.map.shifts) if calibration and isinstance(calibration.map, Affine) else 1
    return shifts in {1, width} and (sets is None or len(sets.thresholds) == len(sets.patients) == answers)
