"""What was fitted to what, and what was not, in sentences for the model card."""

from __future__ import annotations

from mil.trust.calibrate import Calibration
from mil.trust.conformal import Conformal
from mil.trust.questions import Question
from mil.trust.trust import Trust


def statements(trust: Trust) -> tuple[str, ...]:
    """Describe a trust.

    Args:
        trust: Any.

    Returns:
        One sentence a fact.
    """
    mine, said = trust.corrections, []
    for row, question in enumerate(trust.questions):
        of = f"Question {row + 1}: " if len(trust.questions) > 1 else ""
        own = [_calibrated(question, mine.calibrations[row]), *_few(question, mine.conformal[row])]
        if (ends := mine.intervals[row]) is not None:
            wide = " are too few, so intervals have no ends" if ends.margin is None else ""
            own.append(f"intervals of {1 - ends.alpha:.0%} on {ends.patients} patients out of fold{wide}")
        said += [f"{of}{part[0].upper()}{part[1:]}." for part in own]
    return tuple(said)


def _calibrated(question: Question, calibration: Calibration | None) -> str:
    if question.kind in {"value", "risk"}:
        return "the output is no probability, so it is not calibrated"
    if calibration is None:
        return "not calibrated, and no answer is excluded, because only one class was seen"
    return f"calibrated by {calibration}"


def _few(question: Question, sets: Conformal | None) -> list[str]:
    if sets is None:
        return []
    return [
        f"{sets.patients[index]} patients of {question.answers[index]} are too few at {1 - sets.alpha:.0%}: "
        "every set holds that answer"
        for index in sets.always
    ]
