"""`verify` names the tiles that are lost, and only those."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from api.cli import main
from slides.testing import write_slide
from tiling import TileSpec, TileStore, tile, verify_manifest
from tiling.damage import lost_tiles
from tiling.layout import shard_layouts


@pytest.fixture
def store(tmp_path: Path) -> TileStore:
    return tile(write_slide(tmp_path / "s.svs", size=(3000, 2400), seed=5), [TileSpec(0.5), TileSpec(1.0)], tmp_path)


def test_a_flipped_bit_costs_one_tile_and_that_is_named(store: TileStore, capsys: pytest.CaptureFixture[str]) -> None:
    shard = next(path for path in (store.path / "zooms/0.5/pixels/c").rglob("*") if path.is_file())
    content = bytearray(shard.read_bytes())
    content[100] ^= 4  # of the first tile's stream
    shard.write_bytes(content)
    (lost,) = lost_tiles(store.path, verify_manifest(store.path))
    grid = store.grid(0.5)
    assert lost.mpp == 0.5
    assert [lost.row, lost.col] in grid.cells.tolist()
    index = grid.cells.tolist().index([lost.row, lost.col])
    assert [lost.x, lost.y] == grid.coords[index].tolist()
    assert main(["verify", str(store.path), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["tiles"] == [
        {"mpp": 0.5, "row": lost.row, "col": lost.col, "x": lost.x, "y": lost.y}
    ]


def test_a_flipped_bit_of_the_index_costs_the_shard(store: TileStore) -> None:
    shard = next(path for path in (store.path / "zooms/1/pixels/c").rglob("*") if path.is_file())
    content = bytearray(shard.read_bytes())
    content[-10] ^= 1
    shard.write_bytes(content)
    grid = store.grid(1.0)
    shape = shard_layouts(store.grids, "jpeg")[1.0]
    home = (grid.cells // np.array([shape.rows, shape.cols])).tolist()
    inside = home.count([int(shard.parent.name), int(shard.name)])
    assert len(lost_tiles(store.path, verify_manifest(store.path))) == inside > 1


def test_a_whole_store_has_lost_nothing(store: TileStore) -> None:
    everything = [name.relative_to(store.path).as_posix() for name in store.path.rglob("*") if name.is_file()]
    assert lost_tiles(store.path, everything) == []
    assert np.all(store.tiles(0.5, np.array([0])).shape == np.array([1, 224, 224, 3]))
