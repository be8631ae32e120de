"""The direct JPEG reader: the same pixels as OpenSlide at native scale, honest when it shrinks while decoding."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import openslide
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slides import Address, Mpp, Region, Size, open_slide
from slides.formats.openslide import OpenSlideReader
from slides.testing import draw, write_slide
from tiling import TileGrid, TileSpec
from tiling.cut import snapped

ENCODINGS = ("rgb444", "ycc422", "ycc420")


@pytest.fixture(scope="module", params=ENCODINGS)
def made(request: pytest.FixtureRequest, data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slide of real patches in each coding that scanners use."""
    path = tmp_path_factory.mktemp("made") / f"{request.param}.svs"
    tool = data_dir.parent / "tools" / "make_slide.py"
    arguments = [str(path), "--cells", "24x32", "--encoding", request.param]
    subprocess.run([sys.executable, str(tool), *arguments], check=True, capture_output=True)
    return path


def test_native_pixels_equal_openslides(made: Path) -> None:
    reference = openslide.OpenSlide(str(made))
    with open_slide(made) as slide:
        assert slide.info.reader == "tiff-jpeg"
        for level, (x, y) in [(0, (0, 0)), (0, (1111, 977)), (1, (400, 800)), (0, (4500, 3300))]:
            downsample = round(slide.info.levels[level].downsample)
            expected = np.asarray(reference.read_region((x, y), level, (300, 250)).convert("RGBA"))
            read = slide.read_to(Region(x, y, 300 * downsample, 250 * downsample), Size(300, 250))
            inside = expected[..., 3] == 255
            assert np.array_equal(read[inside], expected[..., :3][inside])
            assert (read[~inside] == 255).all()


def test_both_readers_describe_a_slide_alike(made: Path) -> None:
    with open_slide(made) as ours, OpenSlideReader(Address.of(made), "") as theirs:
        same = {"reader": "", "reader_reason": "", "decode": ""}
        assert replace(ours.info, **same) == replace(theirs.info, **same)  # type: ignore[arg-type]


@pytest.mark.parametrize(("shrink", "decibel"), [(2, 42), (4, 36), (8, 34)])
def test_scaled_decoding_is_close_to_the_exact_average(made: Path, shrink: int, decibel: float) -> None:
    region = Region(960, 960, 1920, 1920)
    size = Size(1920 // shrink, 1920 // shrink)
    with open_slide(made) as fast, open_slide(Address(str(made), decode="exact")) as exact:
        assert exact.source_for(2).decode == "full"
        source = next(s for s in fast.sources if (s.level, s.shrink) == (0, shrink))
        assert source.decode == f"dct-1/{shrink}"
        shrunk = fast._read_source(source, 960, 960, size)
        average = cv2.resize(exact.read(region), (size.width, size.height), interpolation=cv2.INTER_AREA)
    error = ((shrunk.astype(float) - average) ** 2).mean()
    assert 10 * np.log10(255**2 / error) > decibel  # the resamplers that others mix differ by as much


@pytest.mark.parametrize(("x", "y"), [(480, 700), (501, 703)])
def test_shrunk_pixels_do_not_shift(made: Path, x: int, y: int) -> None:
    """Wherever the region starts."""
    with open_slide(made) as slide, open_slide(Address(str(made), decode="exact")) as exact:
        a, b = (s.read(Region(x, y, 1200, 1200), 0.5) for s in (slide, exact))
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) for image in (a, b)]
    (dx, dy), _ = cv2.phaseCorrelate(grey[0], grey[1])
    assert max(abs(dx), abs(dy)) < 0.05


def test_the_real_slide_whose_tag_and_stream_disagree(data_dir: Path) -> None:
    """RGB without a marker, subsampled by its tag and not in its stream."""
    path = data_dir / "slides" / "aperio_cmu1_small.svs"
    expected = np.asarray(openslide.OpenSlide(str(path)).read_region((0, 0), 0, (2220, 2967)).convert("RGB"))
    with open_slide(path) as slide:
        assert slide.info.reader == "tiff-jpeg"
        assert np.array_equal(slide.read(Region(0, 0, 2220, 2967)), expected)


def test_what_needs_a_vendors_rules_stays_with_openslide(data_dir: Path) -> None:
    with open_slide(data_dir / "slides" / "hamamatsu_fluorescence.ndpi") as slide:
        assert slide.info.reader == "openslide"


def test_reading_far_apart_regions_skips_what_lies_between(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "s.svs", size=(4000, 3000))
    with open_slide(path) as slide:
        far = [Region(0, 0, 224, 224), Region(3500, 2500, 224, 224)]
        together = slide.read_tiles(far, Size(224, 224))
        for region, tile in zip(far, together, strict=True):
            assert np.array_equal(tile, slide.read(region))


@given(st.floats(0.2500, 0.2530), st.integers(0, 40), st.integers(0, 30))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_cell_has_the_same_pixels_whatever_is_read_with_it(made: Path, mpp0: float, row: int, col: int) -> None:
    """Around the scale where a reader begins to shrink while decoding, with steps that are no whole pixels."""
    empty = np.empty(0, np.float32)
    cells, parent = np.empty((0, 2), np.int32), np.empty(0, np.int64)
    grid = TileGrid(TileSpec(0.5), Mpp.square(mpp0), (0, 0), (60, 60), cells, empty, parent)
    with open_slide(Address.of(made, mpp0)) as slide:
        (grid,) = snapped(slide, [grid])

        def region(at: int, across: int) -> Region:
            (x, y) = grid.corners(np.array([[at, across]]))[0].tolist()
            return Region(x, y, *grid.side)

        alone = slide.read_tiles([region(row % 7, col % 9)], Size(224, 224))[0]
        before = [region(row % 7, c) for c in range(col % 9 + 1)]
        together = slide.read_tiles(before, Size(224, 224))[-1]
        below = slide.read_tiles([region(r, col % 9) for r in range(row % 7 + 1)], Size(224, 224))[-1]
    assert np.array_equal(alone, together)
    assert np.array_equal(alone, below)


def test_an_objective_power_that_is_no_number_is_ignored(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "s.svs", size=(600, 500))
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages[0].tags["ImageDescription"].overwrite("Aperio x |AppMag = 20x|MPP = 0.5000")  # type: ignore[union-attr]
    with open_slide(path) as slide:
        assert slide.info.objective_power is None


def test_a_large_slide_without_a_pyramid_is_seen_whole_in_little_memory(tmp_path: Path) -> None:
    drawn = draw(3000, 2000, 0.5, seed=8)
    tifffile.imwrite(tmp_path / "s.tiff", drawn, tile=(256, 256), photometric="rgb", compression="zlib")
    with open_slide(Address.of(tmp_path / "s.tiff", 0.5)) as slide, pytest.MonkeyPatch.context() as patch:
        patch.setattr("slides.slide.STRIP_PX", 200_000)
        small = slide.read_overview(Region(100, 200, 2000, 1600), Size(200, 160))
    exact = cv2.resize(drawn[200:1800, 100:2100], (200, 160), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - exact).max() <= 2
