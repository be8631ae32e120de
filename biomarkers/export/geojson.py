"""Tiles as GeoJSON that QuPath opens: level-0 pixels, origin top left, one feature a tile.

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

import numpy as np
from numpy.typing import NDArray

from biomarkers.report.colours import class_colour, rgb
from tiling import TileGrid

NAMESPACE = uuid.UUID("5f0c9f5a-2f7b-5d37-9a4e-6d1c5e0b7a11")
"""Makes the ids of tiles: the same result has the same ids, so that a second import is seen as the same objects."""


@dataclass(frozen=True, eq=False)
class TileLayer:
    """Tiles with a class and numbers."""

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
        file.write(f'{{"type": "FeatureCollection", "notice": {json.dumps(notice)}, "features": [')
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
    corners = layer.grid.coords
    ends = np.rint(
        np.array(layer.grid.origin) + layer.grid.cells[:, ::-1] * np.array(layer.grid.step) + layer.grid.extent
    )
    for number, (corner, end) in enumerate(zip(corners.tolist(), ends.astype(np.int64).tolist(), strict=True)):
        properties: dict[str, object] = {"objectType": "tile", "measurements": _numbers(layer.measurements, number)}
        if layer.classes:
            name = layer.classes[number]
            properties["classification"] = {"name": name, "color": list(rgb(class_colour(name)))}
        yield {
            "type": "Feature",
            "id": str(uuid.uuid5(NAMESPACE, f"{layer.identity}/{layer.grid.mpp:g}/{corner[0]}/{corner[1]}")),
            "geometry": {"type": "Polygon", "coordinates": [_ring(corner, end)]},
            "properties": properties,
        }


def _ring(corner: list[int], end: list[int]) -> list[list[int]]:
    """A closed rectangle."""
    (left, top), (right, bottom) = corner, end
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]


def _numbers(measurements: Mapping[str, NDArray[np.floating]], number: int) -> dict[str, float]:
    """The finite measurements of one tile, to six digits."""
    values = {name: float(column[number]) for name, column in measurements.items()}
    return {name: float(f"{value:.6g}") for name, value in values.items() if math.isfinite(value)}
