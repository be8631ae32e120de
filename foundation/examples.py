"""Ask by example: a few tiles stand for what is meant, as the mean of their normalised features.

A prototype as in Snell et al., NeurIPS 2017 (arXiv:1703.05175). It is weighed against the average tile of the slide,
for a lone prototype has no probability; no text tower is needed, so any encoder can be asked in this way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from foundation.embeddings import Embeddings
from foundation.errors import PromptError
from foundation.query import Query, Vectors, unit
from slides import SlideInfo
from tiling import MaskError, TissueMask
from tiling.frame import Frame
from tiling.mask_geojson import mask_from_geojson

NAME: Final = "examples"
MOST: Final = 1000
"""Example tiles: more are no examples, but a training set."""
SURE: Final = math.log(9)
"""Logit of a probability of 0.9: what a tile has that is as near to the examples as they are to each other."""
FINE, LARGEST = 8, 8192
"""Pixels of a region's mask along a tile, and at most along the slide."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Tiles and regions of the slide that is asked."""

    tiles: tuple[int, ...] = ()
    """Places in the arrays of the store."""
    places: tuple[tuple[float, float], ...] = ()
    """Level-0 pixels x, y: the tile there is meant."""
    regions: tuple[dict[str, Any], ...] = ()
    """Parsed GeoJSON: tiles whose centre lies in an outline are meant, whatever its class is called."""
    frame: Frame = "slide"
    """What the regions count from; see `tiling.frame`."""

    def __bool__(self) -> bool:
        return bool(self.tiles or self.places or self.regions)


@dataclass(frozen=True, slots=True, eq=False)
class Prototype:
    """What examples have in common."""

    query: Query
    tiles: tuple[int, ...]
    """The examples, by place in the arrays of the store."""
    logit_scale: float
    """What cosines are multiplied by before softmax: the examples, each left out in turn, have about 0.9 by it."""
    left_out: tuple[float, ...]
    """Cosine of each example to the prototype of the others; empty for a single one."""

    def to_json(self) -> dict[str, Any]:
        """A JSON document.

        Returns:
            `tiles`, and `leave_one_out` with mean, standard deviation and least of the cosines, None for one example.
        """
        spread = None
        if self.left_out:
            values = np.array(self.left_out)
            figures = {"mean": values.mean(), "std": values.std(ddof=1), "min": values.min()}
            spread = {name: round(float(value), 4) for name, value in figures.items()}
        return {"tiles": list(self.tiles), "leave_one_out": spread}


def prototype(embeddings: Embeddings, mpp: float, like: Examples, unlike: Examples) -> Prototype:
    """Make a prototype of examples.

    Args:
        embeddings: Of the slide.
        mpp: The zoom.
        like: What is meant.
        unlike: What is not meant; it joins the average tile as a rival.

    Returns:
        The prototype.

    Raises:
        PromptError: If an example is no tile of the slide, or the examples have no more in common than any tiles have.
    """
    features = unit(embeddings.features(mpp))
    at, away = (chosen(each, embeddings, mpp) for each in (like, unlike))
    if not at:
        raise PromptError("There is no example tile.")
    if set(at) & set(away):
        raise PromptError("A tile is an example both of what is meant and of what is not.")
    own, average = features[list(at)], unit(features.mean(axis=0))
    left_out = _left_out(own)
    margin = float(np.mean((left_out if len(own) > 1 else np.ones(1)) - own @ average))
    if margin <= 0:
        raise PromptError("The examples are no more like each other than like any tile of the slide.")
    far = features[list(away)] if away else np.zeros((0, features.shape[1]), np.float32)
    rivals = np.stack([average, *([unit(far.mean(axis=0))] if away else [])])
    query = Query(NAME, unit(own.mean(axis=0)), rivals, rivals[1:])
    return Prototype(query, at, SURE / margin, tuple(map(float, left_out)))


def _left_out(own: Vectors) -> Vectors:
    """Cosine of each example to the mean of the others."""
    if len(own) < 2:
        return np.zeros(0, np.float32)
    return np.asarray((own * unit(own.sum(axis=0) - own)).sum(axis=1), np.float32)


def chosen(examples: Examples, embeddings: Embeddings, mpp: float) -> tuple[int, ...]:
    """Which tiles are meant.

    Args:
        examples: Tiles, places and regions.
        embeddings: Of the slide.
        mpp: The zoom.

    Returns:
        Places in the arrays of the store, each once.

    Raises:
        PromptError: If one of them is no tile of the slide, or they are too many.
    """
    coords, extent = embeddings.coords(mpp), embeddings.extent(mpp)
    if any(not 0 <= tile < len(coords) for tile in examples.tiles):
        raise PromptError(f"An example is a tile of the store: a number from 0 to {len(coords) - 1}.")
    found = [*examples.tiles, *(_tile_at(place, coords, extent) for place in examples.places)]
    for region in examples.regions:
        found.extend(_tiles_in(region, embeddings, mpp, examples.frame))
    unique = tuple(dict.fromkeys(int(tile) for tile in found))
    if len(unique) > MOST:
        raise PromptError(f"There are {len(unique)} example tiles; {MOST} are the most.")
    return unique


def _tile_at(place: tuple[float, float], coords: NDArray[np.int64], extent: tuple[float, float]) -> int:
    """The tile under a place; where tiles overlap, the one whose middle is nearest.

    Raises:
        PromptError: If there is none.
    """
    away = np.asarray(place) - coords
    under = np.flatnonzero(((away >= 0) & (away < np.asarray(extent))).all(axis=1))
    if not len(under):
        raise PromptError(f"There is no tile at {place[0]:g}, {place[1]:g} (level-0 pixels).")
    middle = np.abs(away[under] - np.asarray(extent) / 2).max(axis=1)
    return int(under[middle.argmin()])


def _tiles_in(document: dict[str, Any], embeddings: Embeddings, mpp: float, frame: Frame) -> Sequence[int]:
    """Tiles whose centre lies in an outline.

    Raises:
        PromptError: If none does, or the document draws no sound outlines on the slide.
    """
    info, extent = SlideInfo.from_json(embeddings.slide), np.asarray(embeddings.extent(mpp))
    pixels = [min(LARGEST, math.ceil(side * FINE / step)) for side, step in zip(_size(info), extent, strict=True)]
    try:
        mask: TissueMask = mask_from_geojson(_unclassed(document), info, (pixels[1], pixels[0]), frame)
    except MaskError as error:
        reason = str(error).replace("the mask", "the document")
        raise PromptError(f"An example region cannot be used: {reason}.") from error
    centre = ((embeddings.coords(mpp) + extent / 2) / np.asarray(mask.scale)).astype(int)
    inside = mask.array[centre[:, 1].clip(0, mask.array.shape[0] - 1), centre[:, 0].clip(0, mask.array.shape[1] - 1)]
    if not inside.any():
        raise PromptError("No tile has its centre in the example region.")
    return np.flatnonzero(inside).tolist()


def _size(info: SlideInfo) -> tuple[int, int]:
    return info.size.width, info.size.height


def _unclassed(document: dict[str, Any]) -> dict[str, Any]:
    """The document without the classes that its author gave: whatever they are called, they are the example."""
    features = document.get("features")
    if not isinstance(features, list):
        return document
    plain = [one if not isinstance(one, dict) else {**one, "properties": {}} for one in features]
    return {**document, "features": plain}
