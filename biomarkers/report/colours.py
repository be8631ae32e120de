"""Colours that colour-blind readers tell apart, and that print."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

CLASS_COLOURS: Final[dict[str, str]] = {
    "tumour": "#882255",
    "in_situ": "#aa4499",
    "giant_cancer_cells": "#cc6677",
    "stroma": "#ddcc77",
    "immune_cells": "#332288",
    "necrosis": "#3b3b3b",
    "haemorrhage": "#ee7733",
    "vessel": "#4477aa",
    "mucinous_change": "#88ccee",
    "apocrine_change": "#44aa99",
    "adipose": "#dddddd",
    "muscle": "#117733",
}
"""Tissue class -> colour, after Paul Tol's "muted" scheme (SRON/EPS/TN/09-002), tumour warm, immune cells dark blue."""
OTHER: Final = "#999933"

SEQUENTIAL: Final = ("#fcfdbf", "#fec287", "#fb8861", "#e75263", "#b63679", "#812581", "#4f127b", "#1d1147", "#000004")
"""matplotlib's magma from light to dark: even in lightness, so it survives grey print and colour blindness."""
DIVERGING: Final = ("#2166ac", "#67a9cf", "#d1e5f0", "#f7f7f7", "#fddbc7", "#ef8a62", "#b2182b")
"""ColorBrewer's RdBu, blue for what lowers a score, red for what raises it; safe for colour-blind readers."""


def rgb(colour: str) -> tuple[int, int, int]:
    """The parts of a colour.

    Args:
        colour: "#rrggbb".

    Returns:
        Red, green and blue, 0..255.

    >>> rgb("#ff8000")
    (255, 128, 0)
    """
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def class_colour(name: str) -> str:
    """The colour of a tissue class.

    Args:
        name: The class.

    Returns:
        "#rrggbb"; `OTHER` for a class without one of its own.
    """
    return CLASS_COLOURS.get(name, OTHER)


def ramp(values: NDArray[np.floating], stops: tuple[str, ...], low: float, high: float) -> NDArray[np.uint8]:
    """Colours for values, linear between the stops.

    Args:
        values: Any numbers, [...].
        stops: Colours from low to high.
        low: The value of the first stop; less is drawn as this.
        high: The value of the last stop; more is drawn as this.

    Returns:
        RGB, [..., 3].
    """
    table = np.array([rgb(stop) for stop in stops], np.float64)
    place = np.clip((np.asarray(values, np.float64) - low) / ((high - low) or 1.0), 0, 1) * (len(stops) - 1)
    channels = [np.interp(place, np.arange(len(stops)), table[:, channel]) for channel in range(3)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)
