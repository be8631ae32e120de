"""Groups side by side: a point and an interval each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mil.judging.report.drawing import HEAD, SOFT, Plot, canvas, plain
from mil.judging.report.words import interval, words

MOST = 40
"""Groups that are drawn, the largest; all stand in the table."""


def forest(column: str, found: Mapping[str, Any], whole: Mapping[str, Any], name: str) -> Plot | None:
    """Draw the first figure of each judged group.

    Args:
        column: What they are groups of.
        found: From `subgroups`.
        whole: The figure of all cases.
        name: Of the figure.

    Returns:
        The plot; None where no group could be judged.
    """
    judged = [group for group in found["groups"] if not group["reason"] and group["figures"][name]["value"] is not None]
    shown = sorted(judged, key=lambda group: -group["n"])[:MOST][::-1]
    if not shown:
        return None
    with canvas(6.0, 1.1 + 0.24 * len(shown)) as (_, axes, uri):
        for place, group in enumerate(shown):
            own = group["figures"][name]
            axes.plot(own["value"], place, "s", color=HEAD, ms=5)
            if own["interval"]:
                axes.plot(own["interval"], [place, place], color=HEAD)
        if whole["value"] is not None:
            axes.axvline(whole["value"], ls=":", color=SOFT)
        axes.set_yticks(range(len(shown)), plain([f"{group['group']} (n = {group['n']})" for group in shown]))
        axes.set_xlabel(f"{words(name)}, 95 % interval; dotted: all cases")
        axes.set_ylim(-0.6, len(shown) - 0.4)
    worst = found["worst"]
    said = f"worst {worst['group']} with {worst['value']:.3f}" if worst and len(judged) > 1 else "none is worst"
    return Plot(f"By {words(column)}", f"{words(name)} by {words(column)}: all {interval(whole)}; {said}.", uri[0])
