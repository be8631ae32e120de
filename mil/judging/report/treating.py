"""The chapter of treatment: what the score is, who gains, what treatment did, and how far that may be believed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from mil.judging.report.chapters import Table
from mil.judging.report.drawing import HEAD, SOFT, Document, Plot, canvas, finish
from mil.judging.report.words import interval, number, rows, words

READINGS: Final = {
    "predictive": "predictive: what treatment does changes with it",
    "prognostic": "prognostic alone: it foretells the outcome either way, and does not say whom to treat",
    "prognostic and predictive": "prognostic, and predictive: what treatment does changes with it as well",
    "neither": "neither prognostic nor predictive as far as these cases can tell",
    "not known": "not known to be prognostic or predictive, for the model has no estimate",
}
"""Of `treatment_interaction`, at a level of 5 %."""


def treating(found: Document) -> tuple[list[str], list[Plot], list[Table]]:
    """Write the chapter.

    Args:
        found: From `judge_treatment`, or a `reason`.

    Returns:
        Sentences, plots and tables.
    """
    if set(found) == {"reason"}:
        return [f"Not judged: {found['reason']}"], [], []
    counts = f"{found['treated']} of {found['n']} cases were treated."
    reading = f"The score is {READINGS[found['interaction']['reading']]}."
    plots = [_qini(found["uplift"])] if found["uplift"]["share"] else []
    return [counts, reading, *found["caveats"]], plots, list(_tables(found))


def _tables(found: Document) -> Iterator[Table]:
    interaction = found["interaction"]
    terms = [(name, term) for name, term in interaction.items() if isinstance(term, Mapping)]
    header = ["term", f"{interaction['scale']} (95 % interval)", "p"]
    note = "Of one standard deviation of the score; predictive is the interaction of treatment and score."
    yield Table("Interaction", header, [[name, interval(term), number(term["p"])] for name, term in terms], note)
    lines = [[name, interval(figure)] for name, figure in rows({key: found[key] for key in ("uplift", "effect")})]
    yield Table("Uplift and effect", ["figure", "value (95 % interval)"], lines)
    lines = [[name, number(own["e_value"]["estimate"]), number(own["e_value"]["limit"])] for name, own in _ways(found)]
    note = (
        "Least risk ratio that a confounder needs with treatment and outcome to explain the effect away, or its limit."
    )
    yield Table("E-value", ["effect", "of the estimate", "of the limit"], lines, note)
    balance = found["weighting"]["balance"]
    if balance:
        lines = [[one["covariate"], number(one["before"]), number(one["after"])] for one in balance]
        note = "Differences of means in standard deviations; beyond 0.1 either way is out of balance."
        yield Table("Balance of the arms", ["covariate", "as they came", "weighted"], lines, note)


def _ways(found: Document) -> Iterator[tuple[str, Document]]:
    return ((words(name), own) for name, own in found["effect"].items())


def _qini(uplift: Mapping[str, Any]) -> Plot:
    with canvas() as (_, axes, uri):
        axes.plot(uplift["share"], uplift["gained"], color=HEAD, label="highest scores first")
        axes.plot([0, 1], [0, uplift["gained"][-1]], ":", color=SOFT, label="at random")
        finish(axes, "share of the cases treated", "outcomes gained a treated case", "best")
    said = interval(uplift["coefficient"])
    return Plot(
        "Qini curve", f"Outcomes gained by treating the highest scores first; area beyond chance {said}.", uri[0]
    )
