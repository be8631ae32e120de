"""Where tiles stand in shards: in which one, and at which place of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tiling.layout import shard_layouts, shard_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from tiling.grid import TileGrid
    from tiling.shard import Keep, ShardLayout


@dataclass(frozen=True)
class Home:
    """A shard with tiles that are wanted."""

    member: str
    """Its name in the store."""
    row: int
    col: int
    index: NDArray[np.int64]
    """Of those that were asked for, which are in it."""
    places: NDArray[np.int64]
    """Where in it they are."""


def homes(grid: TileGrid, shard: ShardLayout, wanted: NDArray[np.int64]) -> Iterator[Home]:
    """Group tiles by the shard that holds them.

    Args:
        grid: The zoom's grid.
        shard: Its shards.
        wanted: Positions in the grid, [n].

    Yields:
        Every shard with one of these tiles, by row and column.
    """
    cells, shape = grid.cells[wanted], np.array([shard.rows, shard.cols])
    where, number = np.unique(cells // shape, axis=0, return_inverse=True)
    for at, (row, col) in enumerate(where.tolist()):
        index = np.flatnonzero(number == at)
        places = (cells[index] - where[at] * shape) @ np.array([shard.cols, 1])
        yield Home(shard_name(grid, row, col), row, col, index, places)


def shard_names(grids: Sequence[TileGrid], keep: Keep) -> set[str]:
    """The members that hold the kept tiles.

    Args:
        grids: All zooms.
        keep: How pixels are kept.

    Returns:
        Their names; none where no pixels are kept.
    """
    if keep == "no":
        return set()
    layouts = shard_layouts(grids, keep)
    return {home.member for grid in grids for home in homes(grid, layouts[grid.mpp], np.arange(len(grid)))}
