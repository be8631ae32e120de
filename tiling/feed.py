"""Give tiles in batches, from a store or cut afresh, with readers at work ahead of the caller."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from slides import open_slide
from tiling.cut import blocks, cut, require_same
from tiling.errors import DamagedStoreError
from tiling.homes import homes
from tiling.pool import LocalPool
from tiling.shard import read_parts, read_shard

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from slides import Address, SlideInfo
    from tiling.cut import Block
    from tiling.grid import TileGrid
    from tiling.homes import Home
    from tiling.members import Members
    from tiling.shard import ShardLayout

    Batch = tuple[NDArray[np.int64], NDArray[np.uint8]]

SHARDS_AT_ONCE = 8
"""Shards of which some tiles are read at a time; object storage answers slowly and much at once."""


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
    """
    size, threads = size_threads
    with open_slide(address) as slide, LocalPool(threads) as pool:
        require_same(slide, info)

        def read(block: Block) -> Batch:
            return next((index, tiles) for position, index, tiles in cut(slide, family, block) if position == zoom)

        yield from rebatch(pool.map(read, blocks(family)), size)


def stored_batches(
    store: Members, grid: TileGrid, shard: ShardLayout, size_threads: tuple[int, int]
) -> Iterator[Batch]:
    """Read the tiles of one zoom from a store, shard by shard.

    Args:
        store: The store.
        grid: The zoom's grid.
        shard: Its shards.
        size_threads: Tiles in a batch, and readers.

    Yields:
        Indices [b] and pixels [b, px, px, 3].
    """

    def read(home: Home) -> Batch:
        with _damage_named(home, grid):
            return home.index, np.stack(list(read_shard(store.read(home.member), home.places, shard)))

    size, threads = size_threads
    with LocalPool(threads) as pool:
        yield from rebatch(pool.map(read, homes(grid, shard, np.arange(len(grid)))), size)


def stored_tiles(
    store: Members, grid: TileGrid, shard: ShardLayout, sizes: Mapping[str, int], index: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Read some tiles of one zoom from a store: of each shard its index and the bytes of these tiles.

    Args:
        store: The store.
        grid: The zoom's grid.
        shard: Its shards.
        sizes: Bytes of each member.
        index: Which tiles, [n].

    Returns:
        Pixels [n, px, px, 3].
    """
    tiles = np.empty((len(index), shard.px, shard.px, 3), np.uint8)

    def read(home: Home) -> None:
        with _damage_named(home, grid):
            parts = read_parts(lambda spans: store.spans(home.member, spans), sizes[home.member], home.places, shard)
            for at, pixels in zip(home.index, parts, strict=True):
                tiles[at] = pixels

    with LocalPool(SHARDS_AT_ONCE) as pool:
        for _ in pool.map(read, homes(grid, shard, index)):
            pass
    return tiles


@contextmanager
def _damage_named(home: Home, grid: TileGrid) -> Iterator[None]:
    """Say which shard cannot be read.

    Raises:
        DamagedStoreError: If it cannot.
    """
    try:
        yield
    except (OSError, DamagedStoreError) as error:
        msg = f"the store is damaged: tiles of shard {home.row}/{home.col} at {grid.mpp:g} um/px cannot be read"
        raise DamagedStoreError(msg) from error


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
