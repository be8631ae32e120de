"""Give tiles in batches, from a store or cut afresh, with readers at work ahead of the caller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from slides import open_slide
from tiling.cut import blocks, cut
from tiling.errors import DamagedStoreError, StoreError
from tiling.pool import LocalPool

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import zarr
    from numpy.typing import NDArray

    from slides import Address, SlideInfo
    from tiling.cut import Block
    from tiling.grid import TileGrid

    Batch = tuple[NDArray[np.int64], NDArray[np.uint8]]


def cut_batches(
    address: Address, info: SlideInfo, family: Sequence[TileGrid], zoom: int, size_threads: tuple[int, int]
) -> Iterator[Batch]:
    """Cut the tiles of one zoom from the slide: the same pixels that a store would keep.

    Args:
        address: Where the slide is.
        info: What the plan was made for.
        family: Grids that are cut from one read.
        zoom: Position in the family of the grid whose tiles are wanted.
        size_threads: Tiles in a batch, and readers.

    Yields:
        Indices [b] and pixels [b, px, px, 3].

    Raises:
        StoreError: If another slide stands at the address than the one the plan was made for.
    """
    size, threads = size_threads
    with open_slide(address) as slide, LocalPool(threads) as pool:
        if slide.info.content_hash != info.content_hash:
            msg = "the slide at this address is not the one that the tiles were planned for"
            raise StoreError(msg)

        def read(block: Block) -> Batch:
            return next((index, tiles) for position, index, tiles in cut(slide, family, block) if position == zoom)

        yield from rebatch(pool.map(read, blocks(family)), size)


def stored_batches(pixels: zarr.Array[Any], grid: TileGrid, size: int, threads: int) -> Iterator[Batch]:
    """Read the tiles of one zoom from a store.

    Args:
        pixels: The zoom's pixel array, [3, rows * px, columns * px].
        grid: Its grid.
        size: Tiles in a batch.
        threads: Readers.

    Yields:
        Indices [b] and pixels [b, px, px, 3].
    """
    px = grid.spec.px
    rows = [np.flatnonzero(grid.cells[:, 0] == row) for row in np.unique(grid.cells[:, 0])]

    def read(index: NDArray[np.int64]) -> Batch:
        row, cols = int(grid.cells[index[0], 0]), grid.cells[index][:, 1]
        first, end = int(cols.min()), int(cols.max()) + 1
        try:
            band = np.asarray(pixels[:, row * px : (row + 1) * px, first * px : end * px])
        except (ValueError, RuntimeError, OSError) as error:
            msg = f"the store is damaged: tiles of row {row} at {grid.mpp:g} um/px cannot be read"
            raise DamagedStoreError(msg) from error
        tiles = band.reshape(3, px, end - first, px).transpose(2, 1, 3, 0)
        return index, np.ascontiguousarray(tiles[cols - first])

    with LocalPool(threads) as pool:
        yield from rebatch(pool.map(read, rows), size)


def rebatch(parts: Iterable[Batch], size: int) -> Iterator[Batch]:
    """Cut a stream of groups of tiles into batches of one size.

    Args:
        parts: Groups of any size.
        size: Tiles in a batch.

    Yields:
        Batches of `size` tiles, the last one with the rest.
    """
    indices: list[NDArray[np.int64]] = []
    tiles: list[NDArray[np.uint8]] = []
    held = 0
    for index, pixels in parts:
        while len(index):
            take = min(size - held, len(index))
            indices.append(index[:take])
            tiles.append(pixels[:take])
            index, pixels, held = index[take:], pixels[take:], held + take  # noqa: PLW2901 - what is left of the group
            if held == size:
                yield np.concatenate(indices), np.concatenate(tiles)
                indices, tiles, held = [], [], 0
    if held:
        yield np.concatenate(indices), np.concatenate(tiles)
