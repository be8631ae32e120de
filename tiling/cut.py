"""Cut tiles: one read of the slide feeds every zoom that divides evenly.

The unit of reading is a block: a few rows of tiles of the finest zoom and the coarser tiles above them; its memory is
bounded whatever the slide. The unit of work is a band: neighbouring blocks with enough tiles to outweigh a task. Both
are a few numbers, never pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from slides import Region, Size
from tiling.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from slides import Slide, SlideInfo
    from slides.slide import Source
    from tiling.grid import TileGrid

BLOCK_PX, BLOCK_HEIGHT = 8 * 16 * 224**2, 8 * 224
"""Pixels of a block (20 MB of RGB) and rows of pixels in it, about: a compressed tile is decoded twice only where it
lies across a block's edge, so blocks are nearly square. Tiles of 224 px make blocks of 8 x 16."""
RATIOS = (1, 2, 4)
"""How much coarser a zoom may be to be cut with a finer one."""
MOST_PX = 1 << 24
"""Pixels of the finest zoom under one coarse tile (50 MB of RGB); larger tiles are cut by themselves."""
BAND_TILES = 300
"""Tiles of the finest zoom in a band, at least: a third of a second of work against 3 ms that a task costs on Dask."""
READ_PX = 1 << 25
"""Pixels of the slide that one read touches (100 MB of RGB); fewer tiles at once where no level is near the zoom."""
GLASS = 255
"""The fill value of stored pixels: what a viewer sees where no tile is kept."""


@dataclass(frozen=True, slots=True)
class Block:
    """A rectangle of cells at several zooms: `rows[i]`, `cols[i]` are half-open ranges at zoom i, finest first."""

    rows: tuple[tuple[int, int], ...]
    cols: tuple[tuple[int, int], ...]


Band = tuple[Block, ...]


def families(grids: Sequence[TileGrid]) -> list[list[TileGrid]]:
    """Group grids whose coarser tiles are whole multiples of the finest one's.

    Args:
        grids: Finest first.

    Returns:
        Groups that can be cut from one read; a grid with overlap or an odd ratio stands alone.
    """
    groups: list[list[TileGrid]] = []
    for grid in grids:
        home = next((group for group in groups if _nests(group[0], grid)), None)
        if home is None:
            groups.append([grid])
        else:
            home.append(grid)
    return groups


def blocks(family: Sequence[TileGrid]) -> list[Block]:
    """Split a family into blocks that hold at least one kept tile, in reading order.

    Args:
        family: Grids of `families`, finest first.

    Returns:
        Blocks; together they hold every kept tile once.
    """
    ratios = ratios_of(family)
    rows, cols = (side // ratios[-1] for side in block_shape(family))
    wanted: set[tuple[int, int]] = set()
    for grid, ratio in zip(family, ratios, strict=True):
        cells = grid.cells // np.array([rows, cols]) // (ratios[-1] // ratio)
        wanted |= set(map(tuple, np.unique(cells, axis=0).tolist()))
    return [_block(row * rows, col * cols, (rows, cols), ratios) for row, col in sorted(wanted)]


def bands(family: Sequence[TileGrid]) -> list[Band]:
    """Group the blocks of a family into units of work.

    Args:
        family: Grids of `families`, finest first.

    Returns:
        Bands of neighbouring blocks, each but the last of at least `BAND_TILES` tiles of the finest zoom.
    """
    found: list[Band] = []
    open_band: list[Block] = []
    held = 0
    for block in blocks(family):
        open_band.append(block)
        held += len(inside(family[0], block, 0))
        if held >= BAND_TILES:
            found.append(tuple(open_band))
            open_band, held = [], 0
    return [*found, tuple(open_band)] if open_band else found


def snapped(slide: Slide, grids: Sequence[TileGrid]) -> tuple[TileGrid, ...]:
    """Move tiles onto whole pixels of what they are cut from; half a pixel of a tile at most.

    Args:
        slide: The open slide.
        grids: Finest first.

    Returns:
        The same grids; those of a family stay aligned.
    """
    snaps = {
        grid.mpp: slide.source_for(min(family[0].extent) / family[0].spec.px).downsample
        for family in families(grids)
        for grid in family
    }
    return tuple(replace(grid, snap=snaps[grid.mpp]) for grid in grids)


def source_of(slide: Slide, grid: TileGrid) -> Source:
    """What the tiles of a grid are cut from.

    Args:
        slide: The open slide.
        grid: The grid, snapped.

    Returns:
        A level of the slide, perhaps shrunk while it is decoded.
    """
    return slide.source_for(min(grid.side) / grid.spec.px)


def require_same(slide: Slide, planned: SlideInfo) -> None:
    """Refuse to cut another slide than the one that was planned.

    Args:
        slide: What stands at the address now, as this machine reads it.
        planned: What stood there.

    Raises:
        StoreError: If pixels would differ.
    """
    now = slide.info
    if any(getattr(now, name) != getattr(planned, name) for name in ("content_hash", "reader", "decode", "icc")):
        msg = "the slide at this address is not the one that the tiles were planned for, or is read in another way here"
        raise StoreError(msg)


def ratios_of(family: Sequence[TileGrid]) -> list[int]:
    """How much coarser each grid of a family is than its finest.

    Args:
        family: Grids of `families`, finest first.

    Returns:
        Whole numbers, the first is 1.
    """
    return [round(grid.mpp / family[0].mpp) for grid in family]


def block_shape(family: Sequence[TileGrid]) -> tuple[int, int]:
    """Tiles of the finest zoom in a block.

    Args:
        family: Grids of `families`, finest first.

    Returns:
        Rows, columns; whole multiples of the coarsest zoom's ratio.
    """
    px, coarsest = family[0].spec.px, ratios_of(family)[-1]
    rows = max(1, BLOCK_HEIGHT // px // coarsest) * coarsest
    return rows, max(1, BLOCK_PX // (rows * px * px) // coarsest) * coarsest


def cut(
    slide: Slide, family: Sequence[TileGrid], block: Block
) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.uint8]]]:
    """Cut the kept tiles of a block.

    Args:
        slide: An open slide.
        family: Grids of `families`, finest first.
        block: One of `blocks`.

    Yields:
        For each zoom: its position in the family, indices of the tiles in their grid [n], their pixels [n, px, px, 3].
    """
    chosen = [inside(grid, block, zoom) for zoom, grid in enumerate(family)]
    number = _needed(family, block, chosen)
    tiles, ratio, ratios = _read(slide, family[0], block, number), 1, ratios_of(family)
    for zoom, (grid, index) in enumerate(zip(family, chosen, strict=True)):
        step = ratios[zoom]
        tiles, number = _coarser(tiles, number, step // ratio)
        ratio = step
        row, col = (grid.cells[index] - np.array([block.rows[zoom][0], block.cols[zoom][0]])).T
        yield zoom, index, tiles if len(index) == len(tiles) else tiles[number[row, col]]


def _nests(finest: TileGrid, grid: TileGrid) -> bool:
    """Whether a grid's tiles are made of whole tiles of the finest."""
    ratio, px = round(grid.mpp / finest.mpp), grid.spec.px
    even = abs(grid.mpp / finest.mpp - ratio) < 1e-9 and ratio in RATIOS and px % ratio == 0
    return (
        even and (ratio * px) ** 2 <= MOST_PX and px == finest.spec.px and grid.spec.overlap == finest.spec.overlap == 0
    )


def _block(row: int, col: int, shape: tuple[int, int], ratios: Sequence[int]) -> Block:
    """The block whose first coarse cell is (row, col)."""
    scales = [ratios[-1] // ratio for ratio in ratios]
    return Block(
        tuple((row * k, (row + shape[0]) * k) for k in scales),
        tuple((col * k, (col + shape[1]) * k) for k in scales),
    )


def inside(grid: TileGrid, block: Block, zoom: int) -> NDArray[np.int64]:
    """Indices of the kept tiles of a grid in a block.

    Args:
        grid: The grid.
        block: A block of its family.
        zoom: The grid's position in the family.

    Returns:
        Indices in reading order, [n].
    """
    left, right = block.cols[zoom]
    first, end = np.searchsorted(grid.cells[:, 0], block.rows[zoom])  # tiles stand row by row
    col = grid.cells[first:end, 1]
    return np.asarray(first + np.flatnonzero((col >= left) & (col < right)), np.int64)


def _needed(family: Sequence[TileGrid], block: Block, chosen: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Which cells of the finest zoom lie under a chosen tile of any zoom: their number in reading order, else -1."""
    (top, bottom), (left, right) = block.rows[0], block.cols[0]
    needed = np.zeros((bottom - top, right - left), np.bool_)
    for grid, index, ratio in zip(family, chosen, ratios_of(family), strict=True):
        for row, col in grid.cells[index] * ratio - np.array([top, left]):
            needed[row : row + ratio, col : col + ratio] = True
    return np.where(needed, np.cumsum(needed).reshape(needed.shape) - 1, -1)


def _read(slide: Slide, finest: TileGrid, block: Block, number: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The needed cells of the finest zoom, [n, px, px, 3]."""
    px, corner = finest.spec.px, np.array([block.rows[0][0], block.cols[0][0]])
    cells = np.argwhere(number >= 0)
    tiles = np.empty((len(cells), px, px, 3), np.uint8)
    for part in _reads(slide, finest, cells):
        numbers = number[part[:, 0], part[:, 1]]
        regions = [Region(x, y, *finest.side) for x, y in finest.corners(part + corner).tolist()]
        slide.read_tiles(regions, Size(px, px), out=tiles[numbers[0] : numbers[-1] + 1])
    return tiles


def _reads(slide: Slide, grid: TileGrid, cells: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Group cells into reads of bounded memory; where a reader pays for what lies between, by row."""
    most = max(1, int(READ_PX * source_of(slide, grid).downsample ** 2 / (grid.side[0] * grid.side[1])))
    rows = [cells] if slide.reads_sparsely else [cells[cells[:, 0] == row] for row in np.unique(cells[:, 0])]
    for row in rows:
        yield from (row[i : i + most] for i in range(0, len(row), most))


def _coarser(
    tiles: NDArray[np.uint8], number: NDArray[np.int64], ratio: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Tiles of a coarser zoom: each pixel the exact average of ratio x ratio pixels.

    Args:
        tiles: Of the finer zoom, [n, px, px, 3].
        number: Which of them stands in which cell of the block in reading order, -1 for none.
        ratio: How much coarser.

    Returns:
        Every tile with at least one finer tile, and where it stands; those whose finer tiles are not all there have
        undefined parts, and no such tile is kept by a plan.
    """
    if ratio == 1:
        return tiles, number
    rows, cols = np.nonzero(number >= 0)
    found = np.zeros((number.shape[0] // ratio, number.shape[1] // ratio), np.bool_)
    found[rows // ratio, cols // ratio] = True
    parents = np.where(found, np.cumsum(found).reshape(found.shape) - 1, -1)
    coarse = np.empty((int(found.sum()), *tiles.shape[1:]), np.uint8)
    side = tiles.shape[1] // ratio
    for tile, row, col in zip(tiles, rows, cols, strict=True):
        y, x = row % ratio * side, col % ratio * side
        place = coarse[parents[row // ratio, col // ratio], y : y + side, x : x + side]
        cv2.resize(tile, (side, side), dst=place, interpolation=cv2.INTER_AREA)
    return coarse, parents
