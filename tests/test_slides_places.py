"""Quick reading shows the same place as exact reading, wherever a region begins."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from slides import Address, Region, Size, open_slide
from slides.tiles import TiledSlide


@pytest.fixture(scope="module", params=["ycc422", "ycc420"])
def made(request: pytest.FixtureRequest, data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slide of real patches."""
    path = tmp_path_factory.mktemp("made") / f"{request.param}.svs"
    tool = data_dir.parent / "tools" / "make_slide.py"
    arguments = [str(path), "--cells", "12x16", "--encoding", request.param]
    subprocess.run([sys.executable, str(tool), *arguments], check=True, capture_output=True)
    return path


ODD = st.integers(0, 1400)


@given(ODD, ODD, st.integers(1, 60), st.sampled_from([2, 4, 8]), st.integers(-3, 3))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_region_off_the_grid_of_a_shrunken_source_is_read_in_full(
    made: Path, x: int, y: int, px: int, scale: int, more: int
) -> None:
    """Odd corners and odd sides: quick reading may not move what is shown."""
    side = max(scale, px * scale + more)
    region, wanted = Region(x, y, side, side), Size(max(1, side // scale), max(1, side // scale))
    with open_slide(made) as fast, open_slide(Address(str(made), decode="exact")) as exact:
        a, b = (slide.read_to(region, wanted).astype(float) for slide in (fast, exact))
        used = fast.source_for(min(side / wanted.width, side / wanted.height), region)
    if used.shrink == 1:
        assert np.array_equal(a, b)
    else:
        assert all(value % used.shrink == 0 for value in (x, y, side))


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("offset", range(4))
def test_the_place_is_right_at_every_offset(made: Path, scale: int, offset: int) -> None:
    region = Region(960 + offset, 1200 + offset, 960, 960)
    wanted = Size(960 // scale, 960 // scale)
    with open_slide(made) as fast, open_slide(Address(str(made), decode="exact")) as exact:
        a = fast.read_to(region, wanted).astype(float)
        average = cv2.resize(exact.read(region), (wanted.width, wanted.height), interpolation=cv2.INTER_AREA)
        stored = exact.source_for(scale).level > 0
    decibel = 10 * np.log10(255**2 / max(((a - average) ** 2).mean(), 1e-9))
    assert decibel > (20 if stored else 36 if scale == 4 else 40)


def test_regions_on_and_off_the_grid_do_not_change_each_other(made: Path) -> None:
    regions = [Region(960 + 240 * i + i % 2, 1200, 240, 240) for i in range(5)]
    with open_slide(made) as slide:
        together = slide.read_tiles(regions, Size(120, 120))
        for region, tile in zip(regions, together, strict=True):
            assert np.array_equal(tile, slide.read_to(region, Size(120, 120)))


@pytest.mark.parametrize(("x", "y"), [(1003, 1203), (1004, 1204), (1123, 1204), (1242, 1203)])
def test_no_white_line_at_the_border_of_a_tile(data_dir: Path, x: int, y: int) -> None:
    """A region whose last pixel is the first of a tile (120 px at half size) once came back with a white edge."""
    path = data_dir / "slides" / "aperio_cmu1_small.svs"
    with open_slide(path) as fast, open_slide(Address(str(path), decode="exact")) as exact:
        for tile in range(6, 10):
            width = 2 * (120 * tile + 1 - round(x / 2))
            region, wanted = Region(x, y, width, 242), Size(width // 2, 121)
            same_edges(*(slide.read_to(region, wanted) for slide in (fast, exact)))


@pytest.mark.parametrize("offset", range(-3, 4))
def test_no_white_line_at_the_border_of_a_tile_of_a_stored_level(made: Path, offset: int) -> None:
    with open_slide(made) as slide:
        assert isinstance(slide, TiledSlide)
        tile = slide._layers[1].tile.width
        x = 4 * (tile - 200) + offset
        side = 4 * (tile + 1 - round(x / 4))
        region = Region(x, x, side, side)
        average = cv2.resize(slide.read(region), (side // 4, side // 4), interpolation=cv2.INTER_AREA)
        same_edges(slide.read_to(region, Size(side // 4, side // 4)), average)


def same_edges(read: NDArray[np.uint8], expected: NDArray[np.generic]) -> None:
    """The last row and column look alike, and those before them do."""
    for edge in (np.s_[:, -1], np.s_[-1], np.s_[:, 0], np.s_[0]):
        assert np.abs(read[edge].mean(0) - expected[edge].mean(0)).max() < 8
