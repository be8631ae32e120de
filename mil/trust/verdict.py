"""One sentence a case: a score, a set, or "refer, because ..."."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mil.errors import CalibrationError
from mil.trust.trusted import Trusted

State = Literal["answer", "score", "refer", "not evaluable"]


@dataclass(frozen=True)
class Verdict:
    """What may be said of a case. Research use only."""

    state: State
    """`answer`: one answer is left; `score`: numbers without a set (a value, a hazard, a log hazard ratio)."""
    text: str
    """For people."""
    reasons: tuple[str, ...] = ()
    """Why it is referred or not evaluable."""


def verdict(trusted: Trusted, case: int, *, outlying: Sequence[str] = ()) -> Verdict:
    """Join the set, what is known of the slide, and how far the ensemble disagrees.

    Args:
        trusted: Of many cases.
        case: Which.
        outlying: Why the slide is unlike those the model was trained on; () where it is like them.

    Returns:
        `not evaluable` where the slide is outlying, whatever the score: a set is valid only for slides like those it
        was fitted to. `refer` where a set has not exactly one answer, or where members of the ensemble would give
        other answers.

    Raises:
        CalibrationError: There is no such case.
    """
    if not 0 <= case < len(trusted):
        raise CalibrationError(f"There are {len(trusted)} cases; there is no case {case}.")
    if outlying:
        return _say("not evaluable", tuple(outlying))
    reasons = tuple(reason for index in range(len(trusted.sets)) for reason in _doubts(trusted, index, case))
    if reasons:
        return _say("refer", reasons)
    numbers = ", ".join(f"{value:.3g}" for value in trusted.probabilities[case])
    ends = [own[case] for own in trusted.intervals if own is not None]
    if ends:
        numbers += "".join(f", between {low:.3g} and {high:.3g} at {1 - trusted.alpha:.0%}" for low, high in ends)
    if not any(own is not None for own in trusted.sets):
        return Verdict("score", numbers)
    wrongly = f"no other answer is left, each being left out wrongly in {trusted.alpha:.0%} of its cases"
    return Verdict("answer", f"{'; '.join(_answers(trusted, case))}: {wrongly}; probability {numbers}")


def _answers(trusted: Trusted, case: int) -> list[str]:
    return [
        question.answers[int(own[case].argmax())]
        for question, own in zip(trusted.questions, trusted.sets, strict=True)
        if own is not None
    ]


def _doubts(trusted: Trusted, index: int, case: int) -> list[str]:
    own, question = trusted.sets[index], trusted.questions[index]
    if own is None:
        return []
    of = f" in question {index + 1}" if len(trusted.sets) > 1 else ""
    left = [name for name, inside in zip(question.answers, own[case], strict=True) if inside]
    if not left:
        return [f"the score is like that of no class{of}"]
    if len(left) > 1:
        return [f"it could be {' or '.join(left)}{of}"]
    apart = trusted.apart[index]
    if apart is not None and apart[case] > 0.5:
        return [f"{apart[case]:.0%} of the members of the ensemble do not say {left[0]}{of}"]
    return []


def _say(state: Literal["refer", "not evaluable"], reasons: tuple[str, ...]) -> Verdict:
    return Verdict(state, f"{state}, because {'; '.join(reasons)}", reasons)
