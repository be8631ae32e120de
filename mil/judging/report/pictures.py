"""Plots of one model: what was called what, values against values, survival by risk."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mil.judging.report.drawing import BASELINE, HEAD, INK, SOFT, THIRD, Document, Plot, canvas, finish, plain
from mil.judging.report.words import interval


def confusion(classes: Sequence[str], table: Sequence[Sequence[int]]) -> Plot:
    """What was called what.

    Args:
        classes: K names.
        table: Counts [K][K], rows the truth.

    Returns:
        The plot.
    """
    shares = [[count / max(1, sum(row)) for count in row] for row in table]
    side = 1.6 + 0.55 * len(classes)
    with canvas(side + 0.6, side) as (_, axes, uri):
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for i, row in enumerate(table):
            for j, count in enumerate(row):
                axes.text(j, i, str(count), ha="center", va="center", color="white" if shares[i][j] > 0.5 else INK)
        places = range(len(classes))
        axes.set_xticks(places, plain(classes), rotation=35, ha="right")
        axes.set_yticks(places, plain(classes))
        axes.set_xlabel("said")
        axes.set_ylabel("true")
    right = sum(table[i][i] for i in range(len(classes)))
    return Plot("Confusion", f"Confusion matrix; {right} of {sum(map(sum, table))} cases are on its diagonal.", uri[0])


def scatter(pairs: Document, figures: Document) -> Plot:
    """Values that were said against the true ones.

    Args:
        pairs: `truth` and `said`.
        figures: Of the judged model.

    Returns:
        The plot.
    """
    with canvas() as (_, axes, uri):
        ends = [min(*pairs["truth"], *pairs["said"]), max(*pairs["truth"], *pairs["said"])]
        axes.plot(ends, ends, ":", color=SOFT, label="perfect")
        axes.plot(pairs["truth"], pairs["said"], ".", color=HEAD, alpha=0.6)
        finish(axes, "true value", "value that was said", "upper left")
    return Plot("Values", f"True against predicted values; R² {interval(figures['r2'])}.", uri[0])


def kaplan_meier(curves: Document) -> Plot:
    """Survival of the groups of low, middle and high risk.

    Args:
        curves: `groups` and `log_rank`.

    Returns:
        The plot.
    """
    p = curves["log_rank"]["p"]
    with canvas() as (_, axes, uri):
        for colour, group in zip((HEAD, SOFT, BASELINE, THIRD), curves["groups"], strict=False):
            label = f"{group['group']} risk, n = {group['n']}"
            axes.step(group["times"], group["survival"], where="post", color=colour, label=label)
            low, high = (_known(group[end]) for end in ("lower", "upper"))
            axes.fill_between(group["times"], low, high, step="post", color=colour, alpha=0.12)
        axes.set_ylim(0, 1.02)
        finish(axes, "time", "share without the event", "best")
    tested = "no log-rank test" if p is None else f"log-rank p {p:.2g}"
    return Plot("Survival by risk", f"Kaplan-Meier curves of thirds of risk; {tested}.", uri[0])


def _known(ends: Sequence[float | None]) -> list[float]:
    return [math.nan if end is None else end for end in ends]
