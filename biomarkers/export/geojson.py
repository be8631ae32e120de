"""Tiles as GeoJSON that QuPath opens: level-0 pixels counted from where QuPath counts, one feature a tile.

That is the corner of the scanned part (`tiling.frame`); the document says which level-0 pixel of the slide it is, for
programs that count in pixels of the whole slide.

The layout follows QuPath's QuPathTypeAdapters.java: `id` is a UUID, `objectType` is "tile", a classification has a name
and a colour (a name alone is refused), and a measurement is a finite number.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from biomarkers.report.colours import class_colour, rgb
from slides import SlideInfo
from tiling import TileGrid
from tiling.frame import Frame, origin_of, stated

NAMESPACE = uuid.UUID("5f0c9f5a-2f7b-5d37-9a4e-6d1c5e0b7a11")
"""Makes the ids of tiles: the same result has the same ids, so that a second import is seen as the same objects."""
FRAME: Final[Frame] = "bounds"
"""As QuPath has it, so that a user imports the file and is done."""


@dataclass(frozen=True, eq=False)
class TileLayer:
    """Tiles with a class and numbers."""

    info: SlideInfo
    """The slide."""
    grid: TileGrid
    identity: str
    """What the tiles belong to, such as the fingerprint of the score."""
    measurements: Mapping[str, NDArray[np.floating]]
    """Name -> value of each tile, [N]; what is not finite is left out."""
    classes: Sequence[str] = ()
    """Class of each tile; empty for unclassified tiles."""


def write_geojson(path: Path, layer: TileLayer, notice: str) -> None:
    """Write a FeatureCollection, feature by feature.

    Args:
        path: The file.
        layer: The tiles.
        notice: The sentence that every output carries; readers of GeoJSON ignore unknown members.
    """
    with path.open("w", encoding="utf-8") as file:
        about = {"type": "FeatureCollection", "notice": notice, **stated(FRAME, origin_of(layer.info, FRAME))}
        file.write(f'{json.dumps(about)[:-1]}, "features": [')
        for number, feature in enumerate(features(layer)):
            file.write(",\n" if number else "\n")
            file.write(json.dumps(feature, allow_nan=False))
        file.write("\n]}\n")


def features(layer: TileLayer) -> Iterator[dict[str, object]]:
    """The tiles as GeoJSON features.

    Args:
        layer: The tiles.

    Yields:
        One feature a tile, in the order of the grid.
    """
    corners, zero = layer.grid.coords, np.array(origin_of(layer.info, FRAME))
    ends = np.rint(
        np.array(layer.grid.origin) + layer.grid.cells[:, ::-1] * np.array(layer.grid.step) + layer.grid.extent
    )
    boxes = np.concatenate([corners - zero, ends.astype(np.int64) - zero], axis=1).tolist()
    for number, (corner, box) in enumerate(zip(corners.tolist(), boxes, strict=True)):
        properties: dict[str, object] = {"objectType": "tile", "measurements": _numbers(layer.measurements, number)}
        if layer.classes:
            name = layer.classes[number]
            properties["classification"] = {"name": name, "color": list(rgb(class_colour(name)))}
        yield {
            "type": "Feature",
            "id": str(uuid.uuid5(NAMESPACE, f"{layer.identity}/{layer.grid.mpp:g}/{corner[0]}/{corner[1]}")),
            "geometry": {"type": "Polygon", "coordinates": [_ring(*box)]},
            "properties": properties,
        }


def _ring(left: int, top: int, right: int, bottom: int) -> list[list[int]]:
    """A closed rectangle."""
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]


def _numbers(measurements: Mapping[str, NDArray[np.floating]], number: int) -> dict[str, float]:
    """The finite measurements of one tile, to six digits."""
    values = {name: float(column[number]) for name, column in measurements.items()}
    return {name: float(f"{value:.6g}") for name, value in values.items() if math.isfinite(value)}
