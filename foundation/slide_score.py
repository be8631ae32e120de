"""From values of tiles to what is said of a slide: top-K score, shares, areas, tiles to show."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from foundation.query import Vectors, unit

LEAST_K, SHARE_K = 10, 0.01
"""A slide's score is the mean of its K best tiles, K = max(10, 1 % of the tiles): fixed before any slide was seen."""
TOP: Final = 10
"""Tiles to show for a prompt."""
CANDIDATES: Final = 5 * TOP
"""The most probable tiles, from which those to show are picked."""
RELEVANCE: Final = 0.7
"""Weight of the probability against the likeness to tiles that are shown already."""


@dataclass(frozen=True, slots=True)
class TopTile:
    """One of the best tiles for a prompt; no two overlap."""

    index: int
    """Place in the arrays of the answer."""
    x: int
    """Level-0 pixels, left."""
    y: int
    """Level-0 pixels, top."""
    width: float
    """Level-0 pixels."""
    height: float
    """Level-0 pixels."""
    probability: float
    raw: float


def k_of(tiles: int) -> int:
    """How many tiles are in a slide's score.

    Args:
        tiles: Of the slide.

    Returns:
        K.

    >>> k_of(4), k_of(500), k_of(20000)
    (4, 10, 200)
    """
    return min(tiles, max(LEAST_K, math.ceil(SHARE_K * tiles)))


def best_of(values: NDArray[np.floating]) -> float:
    """Top-K pooling of MI-Zero (Lu et al., CVPR 2023, arXiv:2306.07831).

    Args:
        values: Of the tiles [N].

    Returns:
        Mean of the K largest, 0 without tiles.
    """
    k = k_of(len(values))
    return float(np.sort(values)[-k:].mean(dtype=np.float64)) if k else 0.0


def spread_out(
    probability: NDArray[np.float32],
    features: NDArray[np.floating],
    coords: NDArray[np.int64],
    extent: tuple[float, float],
) -> tuple[int, ...]:
    """Tiles to show: probable, none over another, and not ten of a kind.

    By maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998, doi 10.1145/290941.291025) among the most
    probable that do not overlap.

    Args:
        probability: Of the tiles [N].
        features: Of the tiles [N, D].
        coords: Their top left [N, 2], level-0 pixels.
        extent: Their width and height, level-0 pixels.

    Returns:
        Places in the arrays, the most probable first.
    """
    at = np.array(_apart(probability, coords, extent), int)
    if len(at) <= TOP:
        return tuple(at.tolist())
    relevance, likeness = _to_one(probability[at]), _likeness(unit(features[at]))
    shown = [0]
    while len(shown) < TOP:
        worth = RELEVANCE * relevance - (1 - RELEVANCE) * likeness[shown].max(axis=0)
        worth[shown] = -np.inf
        shown.append(int(worth.argmax()))
    return tuple(at[sorted(shown)].tolist())


def _apart(probability: NDArray[np.float32], coords: NDArray[np.int64], extent: tuple[float, float]) -> list[int]:
    """The most probable tiles, none over another; of equals the first in the slide."""
    kept: list[int] = []
    for index in np.argsort(-probability, kind="stable"):
        away = np.abs(coords[kept] - coords[index]) >= np.floor(extent)
        if away.any(axis=1).all():
            kept.append(int(index))
        if len(kept) == CANDIDATES:
            break
    return kept


def _likeness(tiles: Vectors) -> NDArray[np.float32]:
    """Cosines around their mean: features of some encoders all point one way."""
    centred = unit(tiles - tiles.mean(axis=0))
    return np.asarray(centred @ centred.T, np.float32)


def _to_one(values: NDArray[np.float32]) -> NDArray[np.float32]:
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.ones_like(values)
