"""tiles.geojson has the form that QuPath's reader demands."""

from __future__ import annotations

import io
import json
import uuid
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from biomarkers.export.geojson import TileLayer, features, write_geojson
from slides import Mpp, Region, Size, SlideInfo
from tiling import TileGrid, TileSpec


def layer_of(count: int = 3, mpp0: float = 0.46, name: str = "tumour", corner: tuple[int, int] = (0, 0)) -> TileLayer:
    """Tiles of a slide whose scanned part begins at a corner; those of the grid begin at 100, 50."""
    size = Size(9000, 8000)
    bounds = Region(*corner, size.width - corner[0], size.height - corner[1])
    info = SlideInfo(size, Mpp.square(mpp0), "header", "f", "r", "", (), bounds, None, content_hash="0" * 64)
    cells = np.array([(number // 7, number % 7) for number in range(count)], np.int32)
    grid = TileGrid(
        TileSpec(0.5),
        Mpp.square(mpp0),
        (100, 50),
        (count // 7 + 1, 7),
        cells,
        np.ones(count, np.float32),
        np.full(count, -1, np.int64),
    )
    values = np.linspace(0, 0.5, count).astype(np.float32)
    return TileLayer(info, grid, "f" * 64, {"immune share": values}, [name] * count if name else ())


def area(ring: list[list[float]]) -> float:
    """The shoelace formula: positive for the order of GeoJSON in a y-down image."""
    return sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairwise(ring)) / 2


def test_every_feature_has_what_qupath_reads(tmp_path: Path) -> None:
    write_geojson(tmp_path / "t.geojson", layer_of(20), "Research use only. Not for diagnosis.")
    document = json.loads((tmp_path / "t.geojson").read_text(encoding="utf-8"))
    assert document["type"] == "FeatureCollection"
    assert document["notice"] == "Research use only. Not for diagnosis."
    assert len(document["features"]) == 20
    for feature in document["features"]:
        assert feature["type"] == "Feature"
        assert str(uuid.UUID(feature["id"])) == feature["id"]
        properties = feature["properties"]
        assert properties["objectType"] == "tile"
        assert set(properties["classification"]) == {"name", "color"}, "a name without a colour is refused"
        assert all(isinstance(part, int) and 0 <= part <= 255 for part in properties["classification"]["color"])
        assert all(isinstance(value, float) for value in properties["measurements"].values())
        (ring,) = feature["geometry"]["coordinates"]
        assert feature["geometry"]["type"] == "Polygon"
        assert ring[0] == ring[-1]
        assert len(ring) == 5
        assert all(isinstance(place, int) for point in ring for place in point)


def test_polygons_are_level_0_pixels_and_neighbours_touch() -> None:
    layer = layer_of(7, mpp0=0.46)
    rings = [feature["geometry"]["coordinates"][0] for feature in features(layer)]  # type: ignore[index]
    step = 224 * 0.5 / 0.46  # 243.478 level-0 px: rounding must not open gaps
    for number, ring in enumerate(rings):
        assert ring[0] == [round(100 + number * step), 50]
        assert ring[2] == [round(100 + (number + 1) * step), round(50 + step)]
        assert area(ring) > 0
    assert all(left[1] == right[0] for left, right in pairwise(rings))


def test_places_count_from_the_bounds_as_in_qupath_and_the_document_says_so(tmp_path: Path) -> None:
    written = {}
    for corner in ((0, 0), (90, 30)):
        write_geojson(tmp_path / "t.geojson", layer_of(20, corner=corner), "notice")
        written[corner] = json.loads((tmp_path / "t.geojson").read_text(encoding="utf-8"))
        assert written[corner]["oncoscope"] == {"frame": "bounds", "origin": list(corner)}
    for plain, shifted in zip(written[0, 0]["features"], written[90, 30]["features"], strict=True):
        (there,), (here,) = (feature["geometry"]["coordinates"] for feature in (plain, shifted))
        assert [[x - 90, y - 30] for x, y in there] == here
        assert plain["id"] == shifted["id"]


def test_what_is_not_finite_is_left_out() -> None:
    layer = layer_of(3)
    layer.measurements["immune share"][:] = [np.nan, np.inf, 0.123456789]
    found = [feature["properties"]["measurements"] for feature in features(layer)]  # type: ignore[index]
    assert found == [{}, {}, {"immune share": 0.123457}]


def test_ids_are_the_same_each_time_and_unique() -> None:
    first, second = ([feature["id"] for feature in features(layer_of(50))] for _ in range(2))
    assert first == second
    assert len(set(first)) == 50


def test_tiles_without_a_class_have_no_classification() -> None:
    assert all("classification" not in feature["properties"] for feature in features(layer_of(2, name="")))  # type: ignore[operator]


def test_a_large_slide_is_written_feature_by_feature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    longest = 0

    class Watched(io.StringIO):
        def write(self, text: str) -> int:
            nonlocal longest
            longest = max(longest, len(text))
            return len(text)

    monkeypatch.setattr(Path, "open", lambda *_args, **_more: Watched())
    write_geojson(tmp_path / "t.geojson", layer_of(2000), "notice")
    assert longest < 2000, "one write holds one feature"
