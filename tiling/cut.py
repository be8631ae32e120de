"""Cut tiles: one read of the slide feeds every zoom that divides evenly.

The unit of work is a block: a few rows of tiles of the finest zoom and the coarser tiles above them. It is what a
worker gets, it holds no pixels, and its memory is bounded whatever the slide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from slides import Region, Size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from slides import Slide
    from tiling.grid import TileGrid

BLOCK_ROWS, BLOCK_COLS = 4, 64
"""Tiles of the finest zoom in a block: 256 are enough work to outweigh a task, 4 rows keep the canvas under 40 MB."""
READ_PX = 1 << 25
"""Pixels of the slide that one read touches (100 MB of RGB); fewer tiles at once where no level is near the zoom."""
GLASS = 255
"""What a canvas shows where nothing was read; also the fill value of stored pixels."""


@dataclass(frozen=True, slots=True)
class Block:
    """A rectangle of cells at several zooms: `rows[i]`, `cols[i]` are half-open ranges at zoom i, finest first."""

    rows: tuple[tuple[int, int], ...]
    cols: tuple[tuple[int, int], ...]


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
    ratios = [round(grid.mpp / family[0].mpp) for grid in family]
    rows, cols = max(1, BLOCK_ROWS // ratios[-1]), max(1, BLOCK_COLS // ratios[-1])
    wanted: set[tuple[int, int]] = set()
    for grid, ratio in zip(family, ratios, strict=True):
        cells = grid.cells // np.array([rows, cols]) // (ratios[-1] // ratio)
        wanted |= set(map(tuple, np.unique(cells, axis=0).tolist()))
    return [_block(row * rows, col * cols, (rows, cols), ratios) for row, col in sorted(wanted)]


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
    chosen = [_inside(grid, block, zoom) for zoom, grid in enumerate(family)]
    canvas = _canvas(slide, family, block, chosen)
    px = family[0].spec.px
    for zoom, (grid, index) in enumerate(zip(family, chosen, strict=True)):
        ratio = round(grid.mpp / family[0].mpp)
        image = canvas if ratio == 1 else _box(canvas, ratio)
        places = (grid.cells[index] - np.array([block.rows[zoom][0], block.cols[zoom][0]])) * px
        tiles = np.empty((len(index), px, px, 3), np.uint8)
        for tile, (y, x) in zip(tiles, places, strict=True):
            tile[:] = image[y : y + px, x : x + px]
        yield zoom, index, tiles


def _nests(finest: TileGrid, grid: TileGrid) -> bool:
    """Whether a grid's tiles are made of whole tiles of the finest."""
    ratio = grid.mpp / finest.mpp
    even = abs(ratio - round(ratio)) < 1e-9 and BLOCK_ROWS % round(ratio) == 0
    return even and grid.spec.px == finest.spec.px and grid.spec.overlap == finest.spec.overlap == 0


def _block(row: int, col: int, shape: tuple[int, int], ratios: Sequence[int]) -> Block:
    """The block whose first coarse cell is (row, col)."""
    scales = [ratios[-1] // ratio for ratio in ratios]
    return Block(
        tuple((row * k, (row + shape[0]) * k) for k in scales),
        tuple((col * k, (col + shape[1]) * k) for k in scales),
    )


def _inside(grid: TileGrid, block: Block, zoom: int) -> NDArray[np.int64]:
    """Indices of the kept tiles of a grid in a block."""
    (top, bottom), (left, right) = block.rows[zoom], block.cols[zoom]
    row, col = grid.cells[:, 0], grid.cells[:, 1]
    return np.flatnonzero((row >= top) & (row < bottom) & (col >= left) & (col < right))


def _canvas(
    slide: Slide, family: Sequence[TileGrid], block: Block, chosen: Sequence[NDArray[np.int64]]
) -> NDArray[np.uint8]:
    """The block's cells of the finest zoom side by side; only those that some tile of any zoom needs are read."""
    finest, (top, left) = family[0], (block.rows[0][0], block.cols[0][0])
    needed = _needed(family, block, chosen)
    px = finest.spec.px
    canvas = np.full((needed.shape[0] * px, needed.shape[1] * px, 3), GLASS, np.uint8)
    for cells in _reads(slide, finest, np.argwhere(needed)):
        tiles = slide.read_tiles([region(finest, top + int(r), left + int(c)) for r, c in cells], Size(px, px))
        for (row, col), tile in zip(cells, tiles, strict=True):
            canvas[row * px : (row + 1) * px, col * px : (col + 1) * px] = tile
    return canvas


def _reads(slide: Slide, grid: TileGrid, cells: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Group cells into reads of bounded memory; where a reader pays for what lies between, by row."""
    width, height = cell_size(grid)
    source = slide.source_for(min(width, height) / grid.spec.px)
    most = max(1, int(READ_PX * source.downsample**2 / (width * height)))
    rows = [cells] if slide.reads_sparsely else [cells[cells[:, 0] == row] for row in np.unique(cells[:, 0])]
    for row in rows:
        yield from (row[i : i + most] for i in range(0, len(row), most))


def _needed(family: Sequence[TileGrid], block: Block, chosen: Sequence[NDArray[np.int64]]) -> NDArray[np.bool_]:
    """Cells of the finest zoom, [rows, columns] of the block, that lie under a chosen tile of any zoom."""
    (top, bottom), (left, right) = block.rows[0], block.cols[0]
    needed = np.zeros((bottom - top, right - left), np.bool_)
    for grid, index in zip(family, chosen, strict=True):
        ratio = round(grid.mpp / family[0].mpp)
        for row, col in grid.cells[index] * ratio - np.array([top, left]):
            needed[row : row + ratio, col : col + ratio] = True
    used = np.argwhere(needed)
    height, width = (used.max(axis=0) + 1) if len(used) else (1, 1)
    coarsest = round(family[-1].mpp / family[0].mpp)  # a whole number of coarse tiles, so that averaging comes out even
    return needed[: -(-int(height) // coarsest) * coarsest, : -(-int(width) // coarsest) * coarsest]


def region(grid: TileGrid, row: int, col: int) -> Region:
    """Where a cell lies: its exact corner rounded to whole level-0 pixels, its size the same for every cell.

    One size for all, because the size decides how a reader shrinks; neighbours overlap or miss by a pixel at most.

    Args:
        grid: The grid.
        row: Row of the cell.
        col: Column of the cell.

    Returns:
        The region in level-0 pixels.
    """
    x, y = grid.origin[0] + col * grid.step[0], grid.origin[1] + row * grid.step[1]
    return Region(round(x), round(y), *cell_size(grid))


def cell_size(grid: TileGrid) -> tuple[int, int]:
    """Width and height of a cell in whole level-0 pixels.

    Args:
        grid: The grid.

    Returns:
        The sizes, at least 1.
    """
    return max(1, round(grid.extent[0])), max(1, round(grid.extent[1]))


def _box(image: NDArray[np.uint8], ratio: int) -> NDArray[np.uint8]:
    """Exact average of ratio x ratio pixels."""
    size = (image.shape[1] // ratio, image.shape[0] // ratio)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
