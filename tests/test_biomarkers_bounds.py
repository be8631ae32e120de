"""On a slide whose scanned part begins somewhere inside, as MIRAX has it, tiles and maps lie where the tissue is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openslide
import pytest
from numpy.typing import NDArray

from api.asking import Means, ask_slide
from biomarkers import score
from foundation import load_encoder
from slides import Address, Region, open_slide
from tiling import TileSpec, segment, tile
from tools.mirax_slide import write_mirax

SIDE, TILE = 224, 128
"""Level-0 pixels of a tile of ours at 0.5 um/px, and of one of the container."""
BEFORE, AFTER = (5, 3), (2, 1)
CORNER = (BEFORE[0] * TILE, BEFORE[1] * TILE)
WIDE, HIGH = 16 * TILE, 14 * TILE
BLOCK = Region(CORNER[0], CORNER[1], 7 * SIDE, 7 * SIDE)
ALONE = Region(CORNER[0] + 8 * SIDE, CORNER[1] + 7 * SIDE, SIDE, SIDE)
"""Where tissue is drawn, in level-0 pixels of the whole slide: enough for a score, and one tile with glass around."""


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(1)
    image = np.full((HIGH, WIDE, 3), 243, np.uint8)
    for place in (BLOCK, ALONE):
        part = rng.normal((215, 150, 190), 12, (place.height, place.width, 3))
        part[rng.random(part.shape[:2]) < 0.15] = (90, 60, 135)
        left, top = place.x - CORNER[0], place.y - CORNER[1]
        image[top : top + place.height, left : left + place.width] = np.clip(cv2.blur(part, (3, 3)), 0, 255)
    return write_mirax(tmp_path_factory.mktemp("slide"), image, tile=TILE, before=BEFORE, after=AFTER)


@pytest.fixture(scope="module")
def out(slide: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out")
    score(slide, "tissue-composition", folder / "score")
    means = Means(load_encoder("builtin"))  # tiles of the same size as the card's
    ask_slide(Address.of(slide), ["stroma"], folder / "ask", means=means, stages=folder / "score" / "stages")
    return folder


def box_of(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Left, top, right and bottom of what is true."""
    ys, xs = np.nonzero(mask)
    return np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], np.float64)


def corners(feature: dict[str, Any]) -> tuple[int, int, int, int]:
    (ring,) = feature["geometry"]["coordinates"]
    (left, top), (right, bottom) = ring[0], ring[2]
    return left, top, right, bottom


def alone(features: list[dict[str, Any]]) -> dict[str, Any]:
    """The tile that lies by itself: the one furthest to the right."""
    return max(features, key=lambda feature: corners(feature)[0])


def test_the_slide_is_of_the_kind_that_is_meant(slide: Path) -> None:
    with open_slide(slide) as opened:
        assert opened.info.bounds == Region(*CORNER, WIDE, HIGH)
        assert opened.info.size.width > WIDE + CORNER[0]
        assert opened.info.size.height > HIGH + CORNER[1]


@pytest.fixture(params=["score/tiles.geojson", "ask/prompt-1.geojson"])
def document(request: pytest.FixtureRequest, out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / request.param).read_text())
    return found


def test_tiles_open_in_qupath_where_the_tissue_is(slide: Path, document: dict[str, Any]) -> None:
    """QuPath reads at the place that a document names plus the corner of OpenSlide's bounds."""
    left, top, right, bottom = corners(alone(document["features"]))
    with openslide.OpenSlide(slide) as seen:
        bounds = [int(seen.properties[f"openslide.bounds-{axis}"]) for axis in "xy"]

        def shown(x: int, y: int) -> NDArray[np.uint8]:
            picture = np.array(seen.read_region((x + bounds[0], y + bounds[1]), 0, (right - left, bottom - top)))
            return np.where(picture[..., 3:] == 0, 255, picture[..., :3]).astype(np.uint8)

        assert shown(left, top)[..., 1].mean() < 180, "tissue"
        for aside in (right - left, left - right):
            assert shown(left + aside, top)[..., 1].mean() > 235, "glass"
        assert shown(left, top - (bottom - top))[..., 1].mean() > 235, "glass"


def test_the_document_leads_back_to_pixels_of_the_whole_slide(document: dict[str, Any]) -> None:
    assert document["oncoscope"]["frame"] == "bounds"
    x, y = document["oncoscope"]["origin"]
    left, top, right, bottom = corners(alone(document["features"]))
    assert (left + x, top + y) == (ALONE.x, ALONE.y)
    assert (right - left, bottom - top) == (ALONE.width, ALONE.height)


def pictures(out: Path) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Where each picture of a score shows tissue or tiles."""
    glass = 225
    thumbnail = cv2.imread(str(out / "score" / "thumbnail.png"))
    assert thumbnail is not None
    yield "thumbnail.png", thumbnail[..., 1] < glass
    for name in ("heatmap.png", "classes.png"):
        image = cv2.imread(str(out / "score" / name), cv2.IMREAD_UNCHANGED)
        assert image is not None
        assert image.shape[:2] == thumbnail.shape[:2]
        yield name, image[..., 3] > 0


def test_maps_lie_over_the_thumbnail(slide: Path, out: Path) -> None:
    with open_slide(slide) as opened:
        size = opened.info.size
    for name, where in pictures(out):
        scale = np.array([where.shape[1] / size.width, where.shape[0] / size.height] * 2)
        for part, place in ((where[:, : round((ALONE.x - SIDE / 2) * scale[0])], BLOCK), (where, ALONE)):
            region = part.copy()
            if place is ALONE:
                region[:, : round((ALONE.x - SIDE / 2) * scale[0])] = False
            drawn = np.array([place.x, place.y, place.x + place.width, place.y + place.height]) * scale
            assert np.abs(box_of(region) - drawn).max() <= 1, f"{name}: {box_of(region)} is not at {drawn}"


def test_the_answer_is_drawn_over_the_tissue(slide: Path, out: Path) -> None:
    with open_slide(slide) as opened:
        size, plain = opened.info.size, opened.thumbnail(1280)
    picture = cv2.imread(str(out / "ask" / "prompt-1.png"))
    assert picture is not None
    changed = np.abs(picture[..., ::-1].astype(int) - plain).max(axis=2) > 8
    scale = np.array([picture.shape[1] / size.width, picture.shape[0] / size.height] * 2)
    changed[:, : round((ALONE.x - SIDE / 2) * scale[0])] = False
    drawn = np.array([ALONE.x, ALONE.y, ALONE.x + SIDE, ALONE.y + SIDE]) * scale
    assert np.abs(box_of(changed) - drawn).max() <= 1


def test_masks_and_tiles_lie_where_the_tissue_is(slide: Path, tmp_path: Path) -> None:
    with open_slide(slide) as opened:
        mask = segment(opened)
    right = mask.array.copy()
    right[:, : round((ALONE.x - SIDE / 2) / mask.scale[0])] = False
    drawn = np.array([ALONE.x, ALONE.y, ALONE.x + SIDE, ALONE.y + SIDE])
    assert np.abs(box_of(right) * np.array([*mask.scale, *mask.scale]) - drawn).max() <= 2 * max(mask.scale)
    grid = tile(slide, [TileSpec(0.5)], tmp_path, keep="no").grid(0.5)
    assert [ALONE.x, ALONE.y] in grid.coords.tolist()
    assert len(grid) == 7 * 7 + 1
