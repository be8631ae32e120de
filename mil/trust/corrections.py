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
    """One a question; None for a label (of several) of which only one class was seen."""
    conformal: tuple[Conformal | None, ...]
    """One a question; None for a hazard, which has no answers."""
    intervals: Intervals | None
    """Of a regression."""

    def fit(self, questions: Sequence[Question]) -> bool:
        """Whether these are corrections of these questions.

        Args:
            questions: Of a task.

        Returns:
            True if there is one calibration and one set a question, as wide as it is.
        """
        if not len(self.calibrations) == len(self.conformal) == len(questions):
            return False
        return all(
            _fits(question, calibration, sets)
            for question, calibration, sets in zip(questions, self.calibrations, self.conformal, strict=True)
        )


def _fits(question: Question, calibration: Calibration | None, sets: Conformal | None) -> bool:
    width, answers = question.stop - question.start, len(question.answers)
    shifts = len(calibration.map.shifts) if calibration and isinstance(calibration.map, Affine) else 1
    return shifts in {1, width} and (sets is None or len(sets.thresholds) == len(sets.patients) == answers)
