"""Grids: exact scale, every place covered once, zooms joined by place."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slides import Mpp, Region, Size, SlideInfo
from slides.info import Level
from tiling import SpecError, TileSpec, TissueMask, TooCoarseError, plan, scales_within
from tiling.cut import blocks, families


def info_of(width: int, height: int, mpp: float, bounds: Region | None = None) -> SlideInfo:
    size = Size(width, height)
    return SlideInfo(
        size,
        Mpp.square(mpp),
        "header",
        "made",
        "made",
        "",
        (Level(size, 1.0),),
        bounds or Region.whole(size),
        None,
        "0" * 64,
    )


def full_mask(info: SlideInfo, share: float = 1.0, seed: int = 0) -> TissueMask:
    shape = (max(1, info.size.height // 16), max(1, info.size.width // 16))
    array = np.random.default_rng(seed).random(shape) < share
    return TissueMask(array, (info.size.width / shape[1], info.size.height / shape[0]))


slides = st.builds(info_of, st.integers(300, 9000), st.integers(300, 9000), st.floats(0.2, 0.6))


@given(slides)
@settings(max_examples=60)
def test_tiles_cover_the_slide_once_and_their_scale_is_exact(info: SlideInfo) -> None:
    (grid,) = plan(info, [TileSpec(0.5, min_tissue=0)], full_mask(info))
    assert len(grid) == grid.shape[0] * grid.shape[1]
    um = 224 * 0.5
    for axis, side in ((0, info.size.width), (1, info.size.height)):
        starts = np.unique(grid.coords[:, axis])
        exact = np.arange(len(starts)) * um / grid.mpp0.x
        assert np.abs(starts - exact).max() <= 0.5  # no error adds up, however wide the slide
        assert starts[-1] < side <= starts[-1] + grid.extent[axis] + 1


@given(slides, st.floats(0.02, 1), st.integers(0, 5))
@settings(max_examples=60)
def test_every_tile_has_the_parent_that_holds_its_centre(info: SlideInfo, share: float, seed: int) -> None:
    mask = full_mask(info, share, seed)
    mask.array[0, 0] = True
    grids = plan(info, [TileSpec(m, min_tissue=0) for m in (2.0, 0.5, 1.0)], mask)
    assert [grid.mpp for grid in grids] == [0.5, 1.0, 2.0]
    for fine, coarse in pairwise(grids):
        assert (fine.parent >= 0).all()
        centre = fine.coords + np.array(fine.extent) / 2
        corner = coarse.coords[fine.parent]
        assert (centre >= corner - 1).all()
        assert (centre <= corner + np.array(coarse.extent) + 1).all()
    assert (grids[-1].parent == -1).all()


@given(slides, st.floats(0.05, 1), st.sampled_from([(0.5,), (0.5, 1.0, 2.0), (0.5, 0.8), (0.5, 1.5)]))
@settings(max_examples=60)
def test_blocks_hold_every_tile_once(info: SlideInfo, share: float, mpps: tuple[float, ...]) -> None:
    mask = full_mask(info, share)
    mask.array[0, 0] = True
    grids = plan(info, [TileSpec(m, min_tissue=0) for m in mpps], mask)
    seen = {grid.mpp: np.zeros(len(grid), int) for grid in grids}
    for family in families(grids):
        for block in blocks(family):
            for zoom, grid in enumerate(family):
                (top, bottom), (left, right) = block.rows[zoom], block.cols[zoom]
                row, col = grid.cells[:, 0], grid.cells[:, 1]
                seen[grid.mpp] += (row >= top) & (row < bottom) & (col >= left) & (col < right)
    assert all((count == 1).all() for count in seen.values())


@given(st.integers(1, 400), st.integers(1, 400), st.floats(1, 60), st.floats(1, 60))
def test_tissue_shares_equal_counting(x: int, y: int, width: float, height: float) -> None:
    mask = TissueMask(np.random.default_rng(7).random((40, 50)) < 0.5, (10.0, 12.0))
    share = mask.shares(np.array([float(x)]), np.array([float(y)]), (width * 10, height * 12))[0]
    fine = np.kron(mask.array, np.ones((12, 10)))  # one cell a level-0 pixel
    fine = np.pad(fine, ((0, 1500), (0, 1500)))
    x1, y1 = x + width * 10, y + height * 12
    expected = fine[y : round(y1), x : round(x1)].sum() / (width * 10 * height * 12)
    assert share == pytest.approx(expected, abs=0.12 if width * height < 4 else 0.03)


def test_tiles_start_at_the_scanned_part() -> None:
    info = info_of(4000, 4000, 0.5, Region(1000, 600, 2000, 2000))
    (grid,) = plan(info, [TileSpec(0.5, min_tissue=0)], full_mask(info))
    assert grid.coords.min(axis=0).tolist() == [1000, 600]
    assert (grid.coords.max(axis=0) < [3000, 2600]).all()


def test_overlap_shortens_the_step() -> None:
    info = info_of(4000, 4000, 0.25)
    (grid,) = plan(info, [TileSpec(0.5, px=256, overlap=64, min_tissue=0)], full_mask(info))
    assert grid.step == (384.0, 384.0)
    assert grid.extent == (512.0, 512.0)


def test_a_coarse_scan_is_not_enlarged() -> None:
    info = info_of(900, 700, 16.8)
    with pytest.raises(TooCoarseError, match=r"16\.8"):
        plan(info, [TileSpec(0.5)], full_mask(info))


def test_scales_that_would_be_enlarged_are_left_out() -> None:
    info = info_of(900, 700, 0.5)
    assert scales_within(info, (2.0, 0.25, 0.5, 0.39, 0.4)) == (2.0, 0.5, 0.4)
    assert scales_within(info, (0.25, 0.1)) == (0.25, 0.1)  # so that tiling says why it cannot


@pytest.mark.parametrize("values", [{"px": 0}, {"px": 10**5}, {"overlap": 224}, {"overlap": -1}, {"min_tissue": 2}])
def test_impossible_specs_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(SpecError):
        TileSpec(0.5, **values)


@pytest.mark.parametrize("mpps", [(), (0.5, 0.5)])
def test_zooms_must_differ(mpps: tuple[float, ...]) -> None:
    info = info_of(900, 700, 0.5)
    with pytest.raises(SpecError):
        plan(info, [TileSpec(m) for m in mpps], full_mask(info))
