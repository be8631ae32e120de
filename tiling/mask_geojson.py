"""A tissue mask as GeoJSON that QuPath opens and people edit, and back.

Coordinates are level-0 pixels, y down, counted from the corner of the slide or, for QuPath, from that of the scanned
part: see `tiling.frame`. A document says which of the two, and is not read as the other.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from slides import SlideInfo
from tiling.crossing import Work, crosses
from tiling.errors import MaskError
from tiling.frame import Frame, contradicts, origin_of, stated
from tiling.outline import Outline, fill, outlines_of
from tiling.tissue import TissueMask

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

CLASS, COLOUR = "Tissue", (0, 128, 96)
NAMESPACE = uuid.UUID("0d6c8f0e-52c4-5a0b-9a6e-3f0d1f1e7a52")
"""Makes the ids of outlines: the same mask has the same ids."""
MOST_BYTES, MOST_VERTICES, MOST_POLYGONS = 64 << 20, 1_000_000, 50_000
"""A mask of a large ragged slide has some 100,000 vertices, a few MB; more than these is refused before it costs
memory: parsed JSON takes sixteen times the file."""
BEYOND = 1.0
"""Level-0 pixels by which an outline may leave the slide: what rounding does."""


def mask_to_geojson(mask: TissueMask, info: SlideInfo, frame: Frame = "slide") -> dict[str, Any]:
    """A mask as polygons with holes, exact: reading them back at the mask's shape gives the same mask.

    Args:
        mask: The mask.
        info: The slide it belongs to.
        frame: What the coordinates count from; see `tiling.frame`.

    Returns:
        A FeatureCollection that says its frame, one annotation of class "Tissue" for each piece, in level-0 pixels;
        outer rings have a positive area in an image with y down, as our tiles have. Nothing in it names the slide.
    """
    origin, scale = origin_of(info, frame), np.array(mask.scale)
    features = []
    for number, outline in enumerate(outlines_of(mask.array)):
        rings = [_listed(ring * scale - np.array(origin)) for ring in (outline.outer, *outline.holes)]
        features.append({
            "type": "Feature",
            "id": str(uuid.uuid5(NAMESPACE, f"{info.content_hash}/{number}")),
            "geometry": {"type": "Polygon", "coordinates": rings},
            "properties": {
                "objectType": "annotation",
                "classification": {"name": CLASS, "color": list(COLOUR)},
            },
        })
    return {"type": "FeatureCollection", **stated(frame, origin), "features": features}


def _listed(ring: NDArray[np.float64]) -> list[list[float]]:
    """A closed ring for JSON, to a thousandth of a pixel."""
    return np.round(np.concatenate([ring, ring[:1]]), 3).tolist()  # type: ignore[no-any-return]


def mask_from_geojson(document: object, info: SlideInfo, shape: tuple[int, int], frame: Frame = "slide") -> TissueMask:
    """The mask that a document draws; its names, ids and other text are not kept.

    Polygons and MultiPolygons of class "Tissue" or of no class count, others (QuPath's tiles, other annotations) do
    not. A mask pixel is tissue where its centre lies inside.

    Args:
        document: A parsed FeatureCollection.
        info: The slide.
        shape: Rows and columns of the mask, such as those of `segment`'s.
        frame: What the coordinates count from; see `tiling.frame`.

    Returns:
        The mask, over the whole slide.

    Raises:
        MaskError: If the document is no FeatureCollection of sound polygons on the slide, says that it counts from
            elsewhere, or holds no tissue.
    """
    origin = origin_of(info, frame)
    if contradicts(document, origin):
        other = "slide" if frame == "bounds" else "bounds"
        raise MaskError(f"the mask says that its outlines count from elsewhere; read it with the frame {other}")
    size = np.array([info.size.width, info.size.height], np.float64)
    scale = size / np.array(shape[::-1])
    array = np.zeros(shape, np.bool_)
    work = Work()
    for outline in _outlines(document, np.array(origin, np.float64), size, work):
        _draw(array, outline, scale, work)
    if not array.any():
        raise MaskError("the mask has no outline of class Tissue, or of no class, on the slide")
    return TissueMask(array, (float(scale[0]), float(scale[1])))


def read_mask(path: Path, info: SlideInfo, shape: tuple[int, int], frame: Frame = "slide") -> TissueMask:
    """The mask in a file; see `mask_from_geojson`.

    Args:
        path: The file.
        info: The slide.
        shape: Rows and columns of the mask.
        frame: What the coordinates count from.

    Returns:
        The mask.

    Raises:
        MaskError: If the file cannot be read, is too large, is no JSON or no such mask.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise MaskError("the mask's file is too large")
        document: object = json.loads(path.read_bytes())
    except OSError as error:
        raise MaskError("the mask's file cannot be read") from error
    except (ValueError, RecursionError) as error:
        raise MaskError("the mask's file is not JSON") from error
    return mask_from_geojson(document, info, shape, frame)


def _draw(array: NDArray[np.bool_], outline: Outline, scale: NDArray[np.float64], work: Work) -> None:
    """Fill one polygon into a mask; only the pixels of its box are touched."""
    rings = [np.asarray(ring / scale) for ring in (outline.outer, *outline.holes)]
    low = np.floor(rings[0].min(axis=0)).astype(int)
    high = np.ceil(rings[0].max(axis=0)).astype(int) + 1
    left, top = np.clip(low, 0, None)
    window = array[top : high[1], left : high[0]]
    outer, *holes = (np.asarray(ring - (left, top)) for ring in rings)
    inside = fill([outer], (window.shape[0], window.shape[1]), work)
    if holes:
        inside &= ~fill(holes, (window.shape[0], window.shape[1]), work)
    window |= inside


def _outlines(document: object, origin: NDArray[np.float64], size: NDArray[np.float64], work: Work) -> list[Outline]:
    """All polygons of a document, checked, in level-0 pixels of the whole slide.

    Raises:
        MaskError: If one is not sound.
    """
    polygons = list(_polygons(document))
    corners = sum(len(ring) for polygon in polygons for ring in polygon)
    if corners > MOST_VERTICES or len(polygons) > MOST_POLYGONS:
        raise MaskError(f"the mask has more than {MOST_VERTICES} corners or {MOST_POLYGONS} polygons")
    outlines = []
    for polygon in polygons:
        outer, *holes = (_ring(ring) + origin for ring in polygon)
        if (outer < -BEYOND).any() or (outer > size + BEYOND).any():
            raise MaskError("an outline of the mask reaches beyond the slide")
        if crosses([outer, *holes], work):
            raise MaskError("an outline of the mask crosses itself")
        outlines.append(Outline(outer, tuple(holes)))
    return outlines


def _polygons(document: object) -> Iterator[list[list[object]]]:
    """The lists of rings that count as tissue.

    Raises:
        MaskError: If the document is not laid out as GeoJSON.
    """
    for feature in _list(_member(document, "FeatureCollection", "features")):
        geometry = _member(feature, "Feature", "geometry")
        if not _counts(feature):
            continue
        kind = geometry.get("type") if isinstance(geometry, dict) else None
        if kind not in {"Polygon", "MultiPolygon"}:
            raise MaskError("an outline of the mask is neither a Polygon nor a MultiPolygon")
        coordinates = _list(_member(geometry, kind, "coordinates"))
        for polygon in [coordinates] if kind == "Polygon" else coordinates:
            rings = [_list(ring) for ring in _list(polygon)]
            if not rings:
                raise MaskError("an outline of the mask is empty")
            yield rings


def _member(value: object, kind: str, name: str) -> object:
    """A member of a GeoJSON object of a kind.

    Raises:
        MaskError: If it is none.
    """
    if not isinstance(value, dict) or value.get("type") != kind or name not in value:
        raise MaskError(f"the mask is not laid out as GeoJSON: a {kind} with {name} is missing")
    found: object = value[name]
    return found


def _list(value: object) -> list[object]:
    """A JSON array.

    Raises:
        MaskError: If it is none.
    """
    if not isinstance(value, list):
        raise MaskError("the mask is not laid out as GeoJSON: an array is missing")
    return value


def _counts(feature: object) -> bool:
    """Whether a feature is of the class of tissue or of none."""
    properties = feature.get("properties") if isinstance(feature, dict) else None
    classified = properties.get("classification") if isinstance(properties, dict) else None
    name = classified.get("name") if isinstance(classified, dict) else None
    return name is None or name == CLASS


def _ring(positions: list[object]) -> NDArray[np.float64]:
    """An open ring of a closed one.

    Raises:
        MaskError: If it is not closed, or a position is not two finite numbers.
    """
    ring = [_position(position) for position in positions]
    if len(ring) < 4 or ring[0] != ring[-1]:
        raise MaskError("an outline of the mask is not closed")
    return np.array(ring[:-1], np.float64)


LARGEST = 1e9
"""No slide is that wide; larger numbers would lose their fractions."""


def _position(value: object) -> tuple[float, float]:
    """The two numbers of a corner.

    Raises:
        MaskError: If they are not finite numbers.
    """
    if isinstance(value, list) and len(value) >= 2:
        x, y = value[:2]
        if type(x) in {int, float} and type(y) in {int, float} and _is_plain(x) and _is_plain(y):
            return float(x), float(y)
    raise MaskError("a corner of the mask is not a pair of finite numbers")


def _is_plain(value: float) -> bool:
    """Whether a number is finite and of a size that a slide has."""
    return -LARGEST < value < LARGEST and not math.isnan(value)
