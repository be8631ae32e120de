"""What all plots share: a small figure, drawn without a screen, as a picture that a page can hold."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from mil.extra import library

INK, SOFT, HEAD, BASELINE, THIRD = "#1b2733", "#566472", "#0b5c8a", "#c4681c", "#5b2a86"
"""Blue and orange differ in lightness too, so that they do in grey print and for colour-blind readers."""
STYLE: Final = {
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "legend.frameon": False,
    "svg.hashsalt": "oncoscope",
    "svg.fonttype": "path",
}


Document = Mapping[str, Any]


@dataclass(frozen=True)
class Plot:
    """One plot of a page."""

    title: str
    alt: str
    """What is to be seen, in words, with the figures that matter."""
    uri: str
    """Data URI, SVG."""


@contextmanager
def canvas(width: float = 4.2, height: float = 3.5) -> Iterator[tuple[Any, Any, list[str]]]:
    """Draw a plot.

    Args:
        width: Inches.
        height: Inches.

    Yields:
        Figure, its axes, and a list that holds the data URI once the block has ended.
    """
    done: list[str] = []
    with library("matplotlib").rc_context(STYLE):
        figure = library("matplotlib.figure").Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.add_subplot(), done
        stream = io.BytesIO()
        figure.savefig(stream, format="svg", metadata={"Date": None})  # the same bytes at any time
    done.append("data:image/svg+xml;base64," + base64.b64encode(stream.getvalue()).decode())


def finish(axes: Any, across: str, up: str, legend: str) -> None:  # noqa: ANN401 - of matplotlib
    """Label a plot.

    Args:
        axes: Of matplotlib.
        across: What runs from left to right.
        up: What runs upwards.
        legend: Where the legend goes.
    """
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.legend(loc=legend, fontsize=8)


def plain(names: Sequence[str]) -> list[str]:
    """Names as they are: matplotlib would read mathematics between dollars.

    Args:
        names: Any texts.

    Returns:
        The same, to be drawn.
    """
    return [name.replace("$", r"\$") for name in names]
