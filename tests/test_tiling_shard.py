"""Shards written by hand are Zarr: every reader sees the same tiles, and no damaged one is taken for a tile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from slides.testing import write_slide
from tiling import DamagedStoreError, TileSpec, TileStore, tile
from tiling.shard import ShardLayout, read_shard, write_shard

PLACES = 8
LAYOUT = ShardLayout(2, PLACES // 2, 16, "raw")


def tiles_of(places: set[int], seed: int) -> dict[int, NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    return {place: rng.integers(0, 256, (16, 16, 3), np.uint8) for place in places}


@given(places=st.sets(st.integers(0, PLACES - 1), min_size=1), seed=st.integers(0, 9))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, places: set[int], seed: int) -> None:
    path, tiles = tmp_path_factory.mktemp("shard") / "s", tiles_of(places, seed)
    about = write_shard(path, tiles, LAYOUT)
    assert about["bytes"] == path.stat().st_size
    found = list(read_shard(path.read_bytes(), np.array(sorted(places)), LAYOUT))
    assert all(np.array_equal(tile, tiles[place]) for tile, place in zip(found, sorted(places), strict=True))


@given(bit=st.integers(0), seed=st.integers(0, 9))
def test_no_flipped_bit_is_read_as_a_tile(tmp_path_factory: pytest.TempPathFactory, bit: int, seed: int) -> None:
    path = tmp_path_factory.mktemp("shard") / "s"
    write_shard(path, tiles_of({1, 2, 5}, seed), LAYOUT)
    shard = bytearray(path.read_bytes())
    shard[bit // 8 % len(shard)] ^= 1 << bit % 8
    with pytest.raises(DamagedStoreError):
        list(read_shard(bytes(shard), np.array([1, 2, 5]), LAYOUT))


@pytest.mark.parametrize("cut", [0, 3, 100, 800, 2000])
def test_a_shard_that_is_cut_off_is_damaged(tmp_path: Path, cut: int) -> None:
    write_shard(tmp_path / "s", tiles_of({0, 1, 2}, 0), LAYOUT)
    with pytest.raises(DamagedStoreError):
        list(read_shard((tmp_path / "s").read_bytes()[:cut], np.array([2]), LAYOUT))


def test_a_tile_that_is_not_there_is_damage_and_not_glass(tmp_path: Path) -> None:
    write_shard(tmp_path / "s", tiles_of({0, 1}, 0), LAYOUT)
    with pytest.raises(DamagedStoreError, match="missing"):
        list(read_shard((tmp_path / "s").read_bytes(), np.array([2]), LAYOUT))


@pytest.fixture(scope="module", params=["jpeg", "raw"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TileStore:
    folder = tmp_path_factory.mktemp("store")
    slide = write_slide(folder / "s.svs", size=(4000, 3000), seed=3)
    return tile(slide, [TileSpec(0.5, px=64), TileSpec(1.0, px=64), TileSpec(0.75, px=48)], folder, keep=request.param)


@pytest.mark.parametrize("mpp", [0.5, 0.75, 1.0])
def test_any_zarr_reader_sees_the_same_tiles(store: TileStore, mpp: float) -> None:
    """Tiles that are not kept are white, as the fill value says."""
    grid = store.grid(mpp)
    px = grid.spec.px
    group: Any = zarr.open_group(store.path, mode="r")
    image = group[f"zooms/{mpp:g}/pixels"][:]
    expected = np.full_like(image, 255)
    for index, tiles in store.batches(mpp, 16):
        for (row, col), pixels in zip(grid.cells[index].tolist(), tiles, strict=True):
            expected[:, row * px : (row + 1) * px, col * px : (col + 1) * px] = pixels.transpose(2, 0, 1)
    assert np.array_equal(image, expected)
