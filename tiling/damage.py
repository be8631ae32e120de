"""Which tiles a damaged store has lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tiling.errors import DamagedStoreError, StoreError
from tiling.homes import Home, homes
from tiling.layout import shard_layouts
from tiling.store import TileStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tiling.grid import TileGrid


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
    layouts = shard_layouts(store.grids, store.keep)
    return [
        tile
        for grid in store.grids
        for home in homes(grid, layouts[grid.mpp], np.arange(len(grid)))
        if home.member in damaged
        for tile in _lost(store, grid, home)
    ]


def _lost(store: TileStore, grid: TileGrid, home: Home) -> Iterator[LostTile]:
    """Tiles of a shard that cannot be read."""
    for index in home.index:
        try:
            store.tiles(grid.mpp, np.array([index]))
        except DamagedStoreError:
            (row, col), (x, y) = grid.cells[index].tolist(), grid.coords[index].tolist()
            yield LostTile(grid.mpp, row, col, x, y)
