"""Which tiles a damaged store has lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tiling import layout
from tiling.errors import DamagedStoreError, StoreError
from tiling.store import TileStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tiling.grid import TileGrid
    from tiling.shard import ShardLayout


@dataclass(frozen=True, slots=True)
class LostTile:
    """A kept tile whose pixels cannot be read any more."""

    mpp: float
    """Its zoom in um/px."""
    row: int
    col: int
    """Its cell."""
    x: int
    y: int
    """Level-0 pixels of its top left."""


def lost_tiles(where: Path | str, damaged: Sequence[str]) -> list[LostTile]:
    """Find the tiles in damaged shards.

    Args:
        where: The store's folder or address.
        damaged: What `verify_manifest` found.

    Returns:
        The tiles, by zoom and place; none where the store keeps no pixels or cannot be opened at all.
    """
    try:
        store = TileStore.open(where)
    except StoreError:
        return []
    layouts = layout.shard_layouts(store.grids, store.keep)
    return [
        tile
        for grid in store.grids
        for row, col in np.unique(grid.cells // _shape(layouts[grid.mpp]), axis=0).tolist()
        if layout.shard_name(grid, row, col) in damaged
        for tile in _lost(store, grid, np.array([row, col]), _shape(layouts[grid.mpp]))
    ]


def _shape(shard: ShardLayout) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array([shard.rows, shard.cols])


def _lost(
    store: TileStore,
    grid: TileGrid,
    home: np.ndarray[tuple[int], np.dtype[np.int64]],
    shape: np.ndarray[tuple[int], np.dtype[np.int64]],
) -> Iterator[LostTile]:
    """Tiles of a shard that cannot be read."""
    for index in np.flatnonzero((grid.cells // shape == home).all(axis=1)):
        try:
            store.tiles(grid.mpp, np.array([index]))
        except DamagedStoreError:
            (row, col), (x, y) = grid.cells[index].tolist(), grid.coords[index].tolist()
            yield LostTile(grid.mpp, row, col, x, y)
