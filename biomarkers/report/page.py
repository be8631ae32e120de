"""The report as one HTML file: no script, no reference to anything outside of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from numpy.typing import NDArray

from biomarkers.card import Biomarker
from biomarkers.report.colours import class_colour
from biomarkers.report.evidence import Evidence, ShownTile
from biomarkers.report.maps import Scale, scale_bar
from biomarkers.report.png import data_uri, jpeg, png
from biomarkers.score import Score

TEMPLATES: Final = Path(__file__).parent
WIDE: Final = 1.35
"""Maps of slides wider than this ratio take the whole width of the page."""

MAP_QUALITY: Final = 82
LEAST_SHARE: Final = 0.0005
LEAST_MM2: Final = 0.001


@dataclass(frozen=True)
class Figure:
    """A map of the slide."""

    title: str
    note: str
    base: str
    """Data URI of the picture below."""
    overlay: str | None = None
    """Data URI of the map above, transparent where there is no tile."""
    key: tuple[tuple[str, str], ...] = ()
    """Name and colour of each class that is drawn."""
    legend: Mapping[str, object] | None = None
    """What the colours of a heat map mean."""


def render(score: Score, card: Biomarker, evidence: Evidence) -> str:
    """Write the report.

    Args:
        score: The score.
        card: Its biomarker.
        evidence: The images.

    Returns:
        The HTML document.
    """
    region = evidence.tissue.view.region
    return _template().render(
        score=score,
        card=card,
        headline=headline(score.score, card),
        gauge=_gauge(score, card),
        composition=_composition(score.measures),
        spread=_spread(score.measures),
        figures=_figures(evidence, score.measures),
        wide=region.width > WIDE * region.height,
        aspect=region.height / region.width,
        bar=_bar(evidence),
        galleries=_galleries(evidence),
    )


def headline(value: float, card: Biomarker) -> tuple[str, str]:
    """The score as it is read aloud.

    Args:
        value: The score, 0..1.
        card: Its biomarker.

    Returns:
        Number and unit: percent for shares, a plain number for probabilities.
    """
    return (f"{value:.3f}", "") if card.kind == "mil" else (f"{100 * value:.1f}", "%")


@cache
def _template() -> Template:
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)
    environment.trim_blocks = environment.lstrip_blocks = True
    environment.filters["words"] = lambda name: str(name).replace("_", " ")
    environment.filters |= {"number": number, "percent": percent, "area": area}
    return environment.get_template("report.html.j2")


def number(value: float | None, digits: int = 3) -> str:
    """A number for people: significant digits, a true minus sign, a dash where there is none.

    Args:
        value: Any number or None.
        digits: Significant digits.

    Returns:
        The text.

    >>> number(-0.01234), number(None)
    ('−0.0123', '–')
    """
    if value is None:
        return "–"
    text = f"{value:.{digits}g}" if abs(value) < 10**digits else f"{value:,.0f}"
    return text.replace("-", "−")


def percent(share: float) -> str:
    """A share for people.

    Args:
        share: 0..1.

    Returns:
        Percent with one digit after the point.

    >>> percent(0.9531), percent(0.0001), percent(0.0)
    ('95.3 %', '< 0.1 %', '0.0 %')
    """
    if 0 < share < LEAST_SHARE:
        return "< 0.1 %"
    return f"{100 * share:.1f} %"


def area(mm2: float) -> str:
    """An area for people.

    Args:
        mm2: Square millimetres.

    Returns:
        Three digits, or that it is less than can be told.

    >>> area(3.7312), area(0.00002)
    ('3.73', '< 0.001')
    """
    return number(mm2) if mm2 >= LEAST_MM2 else "< 0.001"


def _gauge(score: Score, card: Biomarker) -> dict[str, object]:
    """Where the score lies between 0 and 1, and where the categories begin."""
    return {
        "place": 100 * min(1.0, max(0.0, score.score)),
        "edges": [] if card.cutoffs is None else list(card.cutoffs.edges),
    }


def _composition(measures: Mapping[str, object]) -> list[dict[str, object]]:
    """Rows of the composition table, the largest class first; the bars are relative to it."""
    classes = measures.get("classes")
    if not isinstance(classes, Mapping):
        return []
    largest = max((entry["share"] for entry in classes.values()), default=0.0) or 1.0
    rows = [
        {"name": name, "colour": class_colour(name), "bar": 100 * entry["share"] / largest, **entry}
        for name, entry in classes.items()
    ]
    return sorted(rows, key=lambda row: -row["share"])


def _spread(measures: Mapping[str, object]) -> dict[str, object] | None:
    """The immune share over the grid cells, with the bars of a histogram of ten equal steps."""
    grid = measures.get("immune_grid")
    if not isinstance(grid, Mapping) or not grid["cells"]:
        return None
    counts, _ = np.histogram([place["immune_share"] for place in grid["places"]], bins=10, range=(0, 1))
    bars = [{"count": int(count), "height": 100 * float(count) / float(counts.max())} for count in counts]
    return {**grid, "bars": bars}


def _figures(evidence: Evidence, measures: Mapping[str, object]) -> list[Figure]:
    """The heat map first, for it is what the score rests on."""
    layers = evidence.tissue
    base = data_uri(jpeg(layers.image, MAP_QUALITY), "jpeg")
    outlined = data_uri(jpeg(evidence.outlined, MAP_QUALITY), "jpeg")
    figures = [
        Figure(
            "Heat map",
            f"{evidence.scale.label}{_faithful(measures)}",
            base,
            _overlay(layers.heat),
            legend=_legend(evidence.scale),
        ),
        Figure("Section and analysed tissue", "Blue: outline of the tissue that was found.", outlined),
    ]
    if layers.classes is not None:
        key = tuple((name, class_colour(name)) for name in evidence.shown)
        figures.append(
            Figure("Tissue classes", "The most likely class of each tile.", base, _overlay(layers.classes), key)
        )
    return figures


def _faithful(measures: Mapping[str, object]) -> str:
    """How far the map is what the score rests on; nothing for a map that explains no logit."""
    names = ("faithfulness", "faithfulness_random", "faithfulness_random_sd")
    area, mean, deviation = (measures.get(name) for name in names)
    if not (isinstance(area, float) and isinstance(mean, float) and isinstance(deviation, float)):
        return ""
    return (
        f". Faithfulness {number(area, 2)} (random maps {number(mean, 1)} ± {number(deviation, 1)}): the area in logits"
        " between removing tiles least- and most-relevant first."
    )


def _overlay(image: NDArray[np.uint8]) -> str:
    return data_uri(png(image), "png")


def _legend(scale: Scale) -> dict[str, object]:
    ticks = [number(tick, 2) if scale.low < 0 else f"{100 * tick:g} %" for tick in scale.ticks()]
    return {"gradient": ", ".join(scale.stops), "ticks": ticks}


def _reading(value: float, scale: Scale) -> str:
    """A value of the heat map: a share in percent, a contribution as it is."""
    return number(value, 2) if scale.low < 0 else percent(value)


def _bar(evidence: Evidence) -> dict[str, object]:
    """Scale bar: its length in words and in percent of the width of a map."""
    width_mm = evidence.tissue.view.region.width * evidence.info.require_mpp().x / 1000
    length = scale_bar(width_mm)
    return {"percent": 100 * length / width_mm, "text": f"{length:g} mm" if length >= 1 else f"{1000 * length:g} µm"}


def _galleries(evidence: Evidence) -> list[dict[str, object]]:
    ends = ((f"Highest {evidence.scale.label}", evidence.top), (f"Lowest {evidence.scale.label}", evidence.bottom))
    galleries = [
        {"title": title, "many": False, "tiles": [_shown(tile, _reading(tile.value, evidence.scale)) for tile in tiles]}
        for title, tiles in ends
    ]
    examples = [_shown(tile, percent(tile.value)) for tile in evidence.examples]
    galleries.append({"title": "The clearest tile of each class that occurs", "many": True, "tiles": examples})
    return [gallery for gallery in galleries if gallery["tiles"]]


def _shown(tile: ShownTile, value: str) -> dict[str, object]:
    return {"image": data_uri(jpeg(tile.image), "jpeg"), "x": tile.x, "y": tile.y, "value": value, "name": tile.name}
