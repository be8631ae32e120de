"""A mask written as GeoJSON comes back as it was, wherever the slide's bounds begin; what is unsound is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from slides import Mpp, Region, Size, SlideInfo, open_slide
from slides.testing import write_slide
from tiling import MaskError, TissueMask, segment
from tiling.crossing import crosses
from tiling.frame import Frame
from tiling.mask_geojson import mask_from_geojson, mask_to_geojson, read_mask
from tiling.outline import area, fill, outlines_of
from tiling.tissue import mask_shape

ROOT = Path(__file__).resolve().parents[1]
MRXS = Region(3001, 1999, 4000, 5000)


def info_of(width: int = 8000, height: int = 9000, bounds: Region | None = None) -> SlideInfo:
    size = Size(width, height)
    return SlideInfo(
        size, Mpp.square(0.25), "header", "f", "r", "", (), bounds or Region.whole(size), None, content_hash="0" * 64
    )


def mask_of(array: NDArray[np.bool_], info: SlideInfo) -> TissueMask:
    return TissueMask(array, (info.size.width / array.shape[1], info.size.height / array.shape[0]))


def square(*corners: tuple[float, float]) -> dict[str, Any]:
    ring = [list(corner) for corner in corners or ((100, 100), (900, 100), (900, 900), (100, 900))]
    return feature([[*ring, ring[0]]])


def feature(rings: object, kind: str = "Polygon", name: str | None = "Tissue") -> dict[str, Any]:
    properties = {"classification": {"name": name, "color": [1, 2, 3]}} if name else None
    return {"type": "Feature", "geometry": {"type": kind, "coordinates": rings}, "properties": properties}


def document(*features: object) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": list(features)}


@given(
    array=arrays(np.bool_, st.tuples(st.integers(1, 24), st.integers(1, 24))),
    size=st.tuples(st.integers(24, 200_000), st.integers(24, 200_000)),
    frame=st.sampled_from(["slide", "bounds"]),
    corner=st.tuples(st.integers(0, 10), st.integers(0, 10)),
)
def test_a_round_trip_is_exact(
    array: NDArray[np.bool_], size: tuple[int, int], frame: Frame, corner: tuple[int, int]
) -> None:
    array = array.copy()
    array[0, 0] = True
    info = info_of(*size, bounds=Region(*corner, size[0] - 12, size[1] - 12))
    mask = mask_of(array, info)
    text = json.dumps(mask_to_geojson(mask, info, frame), allow_nan=False)
    back = mask_from_geojson(json.loads(text), info, array.shape, frame)
    assert np.array_equal(back.array, array)
    assert back.scale == mask.scale


def test_an_offset_of_the_bounds_shifts_nothing() -> None:
    info = info_of(bounds=MRXS)
    array = np.zeros((90, 80), np.bool_)
    array[40, 50] = True  # level-0 pixels 5000..5100, 4000..4100
    for frame, left, top in (("slide", 5000, 4000), ("bounds", 5000 - 3001, 4000 - 1999)):
        found = mask_to_geojson(mask_of(array, info), info, frame)  # type: ignore[arg-type]
        (ring,) = found["features"][0]["geometry"]["coordinates"]
        assert ring[0] == ring[-1]
        assert sorted(map(tuple, ring[:-1])) == [
            (left, top), (left, top + 100), (left + 100, top), (left + 100, top + 100),
        ]  # fmt: skip
        back = mask_from_geojson(found, info, (90, 80), frame)  # type: ignore[arg-type]
        assert np.array_equal(back.array, array)
    # What QuPath shows of the slide is cropped; an outline drawn there at 0, 0 lies at the corner of the bounds.
    drawn = document(square((0, 0), (200, 0), (200, 200), (0, 200)))
    rows, columns = np.nonzero(mask_from_geojson(drawn, info, (900, 800), "bounds").array)
    assert (columns.min(), rows.min(), columns.max(), rows.max()) == (300, 200, 319, 219)


def test_bounds_on_one_side_count_too() -> None:
    info = info_of(bounds=Region(0, 10, 8000, 100))  # QuPath adds their corner to every place that it reads
    array = np.zeros((900, 800), np.bool_)
    array[1, 0] = True  # level-0 pixels 0..10, 10..20
    (ring,) = mask_to_geojson(mask_of(array, info), info, "bounds")["features"][0]["geometry"]["coordinates"]
    assert sorted(map(tuple, ring[:-1])) == [(0, 0), (0, 10), (10, 0), (10, 10)]


def test_a_document_says_what_it_counts_from_and_is_not_read_as_another() -> None:
    info = info_of(bounds=MRXS)
    mask = mask_of(np.ones((90, 80), np.bool_), info)
    for frame, other, origin in (("bounds", "slide", [3001, 1999]), ("slide", "bounds", [0, 0])):
        found = mask_to_geojson(mask, info, frame)  # type: ignore[arg-type]
        assert found["oncoscope"] == {"frame": frame, "origin": origin}
        with pytest.raises(MaskError, match=f"with the frame {frame}"):
            mask_from_geojson(found, info, (90, 80), other)  # type: ignore[arg-type]
        edited = {key: value for key, value in found.items() if key != "oncoscope"}  # as QuPath writes it
        assert mask_from_geojson(edited, info, (90, 80), frame).array.all()  # type: ignore[arg-type]
    whole = mask_to_geojson(mask, info_of(), "slide")
    assert mask_from_geojson(whole, info_of(), (90, 80), "bounds").array.all(), "without bounds there is one frame"


@given(array=arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_rings_are_simple_and_turn_as_they_should(array: NDArray[np.bool_]) -> None:
    outlines = outlines_of(array)
    for outline in outlines:
        assert area(outline.outer) > 0
        assert all(area(hole) < 0 for hole in outline.holes)
        rings = [outline.outer, *outline.holes]
        assert all(len({tuple(corner) for corner in ring.tolist()}) == len(ring) for ring in rings)
        assert not crosses(rings)
    assert sum(area(ring) for o in outlines for ring in (o.outer, *o.holes)) == np.count_nonzero(array)


def test_the_mask_of_a_slide_comes_back(tmp_path: Path) -> None:
    with open_slide(write_slide(tmp_path / "s.svs", size=(3000, 2200), seed=3)) as slide:
        mask, info = segment(slide), slide.info
    (tmp_path / "m.geojson").write_text(json.dumps(mask_to_geojson(mask, info)))
    assert mask_shape(info) == mask.array.shape
    back = read_mask(tmp_path / "m.geojson", info, mask_shape(info))
    assert np.array_equal(back.array, mask.array)


def test_what_qupath_says_is_read_and_no_text_is_kept() -> None:
    info = info_of()
    canary = "DOE_JOHN"
    hole = [[300, 300], [300, 600], [600, 600], [600, 300], [300, 300]]
    outer = [[100, 100], [900, 100], [900, 900], [100, 900], [100, 100]]
    far = [[5000, 5000], [5100, 5000], [5100, 5100, 7.0], [5000, 5100], [5000, 5000]]
    named = feature([outer, hole]) | {"id": canary, "note": canary}
    tile = square((0, 0), (8000, 0), (8000, 9000), (0, 9000))
    tile["properties"]["classification"]["name"] = canary
    both = document(named, feature([[far]], "MultiPolygon", None), tile)
    mask = mask_from_geojson(both, info, (90, 80))
    expected = np.zeros((90, 80), np.bool_)
    expected[1:9, 1:9] = True
    expected[3:6, 3:6] = False
    expected[50, 50] = True
    assert np.array_equal(mask.array, expected)
    assert canary not in repr(mask)
    assert canary not in json.dumps(mask_to_geojson(mask, info))


def test_overlapping_outlines_are_joined() -> None:
    two = document(square(), square((500, 500), (1500, 500), (1500, 1500), (500, 1500)))
    assert np.count_nonzero(mask_from_geojson(two, info_of(), (90, 80)).array) == 64 + 100 - 16


NAN = float("nan")
UNSOUND: dict[str, object] = {
    "no document": None,
    "a list": [document(square())],
    "a lone feature": square(),
    "no features": {"type": "FeatureCollection"},
    "features of a wrong kind": {"type": "FeatureCollection", "features": {"a": 1}},
    "nothing in it": document(),
    "only another class": document(feature([[[0, 0], [9, 0], [9, 9], [0, 0]]], name="Tumor")),
    "a feature without geometry": document({"type": "Feature", "properties": None}),
    "no geometry": document({"type": "Feature", "geometry": None, "properties": None}),
    "a point": document(feature([5, 5], "Point")),
    "no rings": document(feature([])),
    "an open ring": document(feature([[[0, 0], [100, 0], [100, 100], [0, 100]]])),
    "two corners": document(feature([[[0, 0], [100, 0], [0, 0]]])),
    "not a number": document(square((NAN, 100), (900, 100), (900, 900))),
    "infinite": document(square((float("inf"), 100), (900, 100), (900, 900))),
    "too large for a float": document(square((10**400, 100), (900, 100), (900, 900))),
    "text for a number": document(feature([[["1", "2"], [9, 0], [9, 9], ["1", "2"]]])),
    "true for a number": document(square((True, 100), (900, 100), (900, 900))),
    "a bow tie": document(square((100, 100), (900, 900), (900, 100), (100, 900))),
    "a hole across the edge": document(
        feature([
            [[100, 100], [900, 100], [900, 900], [100, 900], [100, 100]],
            [[500, 500], [1200, 520], [1200, 600], [500, 600], [500, 500]],
        ])
    ),
    "beyond the slide": document(square((100, 100), (9000, 100), (9000, 900), (100, 900))),
    "before the slide": document(square((-50, 100), (900, 100), (900, 900), (-50, 900))),
    "an area of nothing": document(square((100, 100), (900, 100), (500, 100))),
}


@pytest.mark.parametrize("name", UNSOUND)
def test_an_unsound_document_is_refused(name: str) -> None:
    with pytest.raises(MaskError) as caught:
        mask_from_geojson(UNSOUND[name], info_of(), (90, 80))
    assert str(caught.value)
    with pytest.raises(MaskError):  # one good outline beside it does not help
        mask_from_geojson(
            UNSOUND[name] if not isinstance(UNSOUND[name], dict) else {**UNSOUND[name], "type": "Sketch"},  # type: ignore[dict-item]
            info_of(),
            (90, 80),
        )


def test_ten_million_corners_are_refused_quickly() -> None:
    position = [1, 1]
    ring = [position] * 10_000_000
    with pytest.raises(MaskError, match="corners"):
        mask_from_geojson(document(feature([ring])), info_of(), (90, 80))


def test_an_outline_made_to_take_for_ever_is_refused() -> None:
    teeth = [(x, y) for x in range(8000) for y in ((0, 9000) if x % 2 else (9000, 0))]
    star = np.array(teeth, float) + np.random.default_rng(0).random((len(teeth), 2))
    with pytest.raises(MaskError):
        mask_from_geojson(document(square(*map(tuple, star.tolist()))), info_of(9000, 9100), (9100, 9000))


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b"[" * 200_000, b'{"type": "Sketch"}'])
def test_a_file_that_is_no_mask_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "DOE_JOHN.geojson").write_bytes(text)
    with pytest.raises(MaskError) as caught:
        read_mask(tmp_path / "DOE_JOHN.geojson", info_of(), (9, 8))
    assert "DOE" not in str(caught.value)
    with pytest.raises(MaskError, match="cannot be read"):
        read_mask(tmp_path / "absent.geojson", info_of(), (9, 8))


@given(points=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=3, max_size=9, unique=True))
def test_crossings_are_found_as_by_comparing_all_pairs(points: list[tuple[int, int]]) -> None:
    ring = np.array(points, float)
    ends = np.roll(ring, -1, axis=0)

    def side(a: NDArray[Any], b: NDArray[Any], c: NDArray[Any]) -> float:
        return float(np.sign((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])))

    slow = any(
        side(ring[i], ends[i], ring[j]) * side(ring[i], ends[i], ends[j]) < 0
        and side(ring[j], ends[j], ring[i]) * side(ring[j], ends[j], ends[i]) < 0
        for i in range(len(ring))
        for j in range(i)
    )
    assert crosses([ring]) == slow


def test_a_pixel_counts_by_its_centre() -> None:
    triangle = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
    assert fill([triangle], (4, 4)).astype(int).tolist() == [[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]


def test_the_command_writes_a_mask_and_never_over_an_edited_one(tmp_path: Path) -> None:
    write_slide(tmp_path / "DOE_JOHN.svs", size=(2000, 1500))
    command = [sys.executable, "-m", "api.cli", "mask", str(tmp_path / "DOE_JOHN.svs"), "--json"]

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, "--out", str(tmp_path / "m.geojson"), *more],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )

    done = run("--stain", "he")
    assert done.returncode == 0, done.stderr
    reply = json.loads(done.stdout)
    text = (tmp_path / "m.geojson").read_text()
    written = json.loads(text)
    assert "research use only" in written["notice"]
    assert "DOE" not in text
    assert reply["pieces"] == len(written["features"]) > 0
    assert set(reply["quality"]) == {"tissue_mm2", "pen", "fold", "bubble", "blur"}
    with open_slide(tmp_path / "DOE_JOHN.svs") as slide:
        back = read_mask(tmp_path / "m.geojson", slide.info, tuple(reply["shape"]))
        assert back.area_mm2(slide.info.require_mpp()) == pytest.approx(reply["quality"]["tissue_mm2"], abs=1e-3)
    again = run()
    assert (again.returncode, (tmp_path / "m.geojson").read_text()) == (2, text)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["DOE_JOHN.svs", "m.geojson"]
    assert replace(slide.info).pseudonym == reply["slide"]
