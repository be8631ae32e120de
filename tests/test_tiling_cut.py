"""Cutting: bands cover every tile once, and a tile shows exactly the place that it names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slides import Address, Mpp, Region, Size, open_slide
from slides.testing import write_slide
from tiling import TileGrid, TileSpec
from tiling.cut import BAND_TILES, MOST_PX, bands, block_shape, cut, families, inside, ratios_of, snapped


def grid_of(mpp: float, cells: np.ndarray, shape: tuple[int, int], mpp0: float = 0.25, px: int = 64) -> TileGrid:
    return TileGrid(
        TileSpec(mpp, px=px),
        Mpp.square(mpp0),
        (0, 0),
        shape,
        cells.astype(np.int32),
        np.ones(len(cells), np.float32),
        np.full(len(cells), -1, np.int64),
    )


@given(rows=st.integers(1, 40), cols=st.integers(1, 200), share=st.floats(0.01, 1), seed=st.integers(0, 9))
def test_bands_hold_every_tile_once_and_enough_of_them(rows: int, cols: int, share: float, seed: int) -> None:
    kept = np.argwhere(np.random.default_rng(seed).random((rows, cols)) < share)
    coarse = np.argwhere(np.random.default_rng(seed + 1).random((-(-rows // 4), -(-cols // 4))) < share)
    family = [grid_of(0.5, kept, (rows, cols)), grid_of(2.0, coarse, (-(-rows // 4), -(-cols // 4)))]
    counts = [np.zeros(len(grid), int) for grid in family]
    held = []
    for band in bands(family):
        for block in band:
            for zoom, grid in enumerate(family):
                counts[zoom][inside(grid, block, zoom)] += 1
        held.append(sum(len(inside(family[0], block, 0)) for block in band))
    assert all((count == 1).all() for count in counts)
    assert all(count >= BAND_TILES for count in held[:-1])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slide(tmp_path_factory.mktemp("slide") / "s.svs", size=(5000, 2600), mpp=0.25, seed=4)


@given(mpp0=st.floats(0.2450, 0.2530), row=st.integers(0, 8), col=st.integers(0, 20))
def test_a_quick_tile_shows_the_place_that_it_names(made: Path, mpp0: float, row: int, col: int) -> None:
    """The tile of the shrinking decoder is as near to the exact average of its named place as decoders are."""
    address = Address.of(made, mpp0)
    with open_slide(address) as slide:
        (grid,) = snapped(slide, [grid_of(0.5, np.array([[row, col]]), (9, 21), mpp0, px=112)])
        ((_, _, tiles),) = cut(slide, [grid], bands([grid])[0][0])
        ((x, y),) = grid.coords.tolist()
    with open_slide(Address(address.location, address.mpp0, decode="exact")) as slide:
        expected = slide.read_to(Region(x, y, *grid.side), Size(112, 112))
    error = ((tiles[0].astype(float) - expected) ** 2).mean()
    assert 10 * np.log10(255**2 / max(error, 1e-9)) > 35


@given(px=st.integers(16, 4096), zooms=st.lists(st.sampled_from([0.5, 1.0, 2.0]), min_size=1, unique=True))
def test_a_block_is_small_whatever_the_tile(px: int, zooms: list[float]) -> None:
    """At most 50 MB of RGB or one tile, and in coarser zooms whole tiles."""
    grids = [grid_of(mpp, np.array([[0, 0]]), (1, 1), px=px) for mpp in sorted(zooms)]
    for family in families(grids):
        rows, cols = block_shape(family)
        assert rows * cols * px**2 <= max(MOST_PX, px**2)
        assert all(rows % ratio == cols % ratio == 0 for ratio in ratios_of(family))


def test_families_of_scales_that_do_not_divide_stand_alone() -> None:
    cells = np.array([[0, 0]])
    grids = [grid_of(mpp, cells, (1, 1)) for mpp in (0.5, 0.75, 1.0, 2.0)]
    assert [[grid.mpp for grid in family] for family in families(grids)] == [[0.5, 1.0, 2.0], [0.75]]
    odd = [grid_of(mpp, cells, (1, 1), px=225) for mpp in (0.5, 1.0)]
    assert len(families(odd)) == 2  # averages of 2 x 2 pixels would run across tiles
