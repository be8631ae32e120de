"""What was fitted to what, and what was not, in sentences for the model card."""

from __future__ import annotations

from mil.trust.trust import Trust


def statements(trust: Trust) -> tuple[str, ...]:
    """Describe a trust.

    Args:
        trust: Any.

    Returns:
        One sentence a fact.
    """
    mine = trust.corrections
    if not trust.questions and mine.intervals is None:
        return ("The output is no probability, so it is not calibrated and has no sets.",)
    said = [
        "Not calibrated: only one class was seen." if item is None else f"Calibrated by {item}."
        for item in mine.calibrations
    ]
    for sets in mine.conformal:
        if sets is not None:
            few = [f"{sets.patients[index]} patients of {trust.questions[0].answers[index]}" for index in sets.always]
            said += [f"{part} are too few at {1 - sets.alpha:.0%}: every set holds that answer." for part in few]
    if mine.intervals is not None:
        wide = " are too few, so intervals have no ends" if mine.intervals.margin is None else ""
        said.append(f"Intervals of {1 - mine.alpha:.0%} on {mine.intervals.patients} patients out of fold{wide}.")
    return tuple(said)
