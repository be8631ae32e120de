"""Plan tiles at several zooms that fit into each other by place."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tiling.errors import NoTissueError, SpecError, TooCoarseError
from tiling.grid import TileGrid
from tiling.sampling import Sampling
from tiling.spec import TileSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from slides import Mpp, SlideInfo
    from tiling.tissue import TissueMask

MOST_ENLARGED = 1.25
"""A zoom may be this much finer than the scan, no more: beyond, the pixels would be invented."""


def plan(
    info: SlideInfo, specs: Sequence[TileSpec], mask: TissueMask, sampling: Sampling | None = None
) -> tuple[TileGrid, ...]:
    """Lay grids over a slide.

    A coarse tile is kept when it holds enough tissue or when one of its finer tiles is kept, so every kept fine tile
    has its parents.

    Args:
        info: The slide; its scale must be known.
        specs: One for each zoom, in any order.
        mask: Where tissue is.
        sampling: Which tiles of the finest zoom are kept, all where None; coarser zooms then keep their parents.

    Returns:
        One grid a spec, the finest first.

    Raises:
        SpecError: If two specs share a scale or there is none.
        NoTissueError: If no tile of the finest zoom holds enough tissue.
    """
    ordered = sorted(specs, key=lambda spec: spec.mpp)
    if not ordered or len({f"{spec.mpp:g}" for spec in ordered}) != len(ordered):
        msg = "tiling needs one or more zooms, each at its own scale"
        raise SpecError(msg)
    _require_fine_enough(info, ordered[0])
    grids: list[TileGrid] = []
    sampling = sampling or Sampling()
    sampled = sampling.kind != "all"
    for spec in ordered:
        found = _grid(info, spec, mask, grids[-1] if grids else None, only_parents=bool(grids) and sampled)
        grids.append(found if grids else _chosen(found, sampling.choose(found)))
        if not len(grids[-1]):
            msg = f"no tile at {spec.mpp:g} um/px holds enough tissue"
            raise NoTissueError(msg)
    return tuple(_with_parent(grid, coarser) for grid, coarser in zip(grids, [*grids[1:], None], strict=True))


def _require_fine_enough(info: SlideInfo, spec: TileSpec) -> None:
    """Refuse to enlarge.

    Raises:
        TooCoarseError: If the slide was scanned more coarsely than the zoom asks for.
    """
    mpp0 = info.require_mpp()
    if not _fine_enough(mpp0, spec.mpp):
        msg = f"the slide was scanned at {max(mpp0.x, mpp0.y):.3g} um/px, too coarse for tiles at {spec.mpp:g} um/px"
        raise TooCoarseError(msg)


def _fine_enough(mpp0: Mpp, mpp: float) -> bool:
    return max(mpp0.x, mpp0.y) <= mpp * MOST_ENLARGED


def scales_within(info: SlideInfo, scales: Sequence[float]) -> tuple[float, ...]:
    """Those scales at which a slide can be tiled without enlarging it.

    Args:
        info: The slide; its scale must be known.
        scales: In micrometres per pixel.

    Returns:
        Some of `scales`, in their order; all of them where the slide is too coarse for any, so that tiling says so.
    """
    mpp0 = info.require_mpp()
    return tuple(mpp for mpp in scales if _fine_enough(mpp0, mpp)) or tuple(scales)


def _chosen(grid: TileGrid, index: NDArray[np.int64]) -> TileGrid:
    return replace(grid, cells=grid.cells[index], tissue=grid.tissue[index], parent=grid.parent[index])


def _grid(info: SlideInfo, spec: TileSpec, mask: TissueMask, finer: TileGrid | None, *, only_parents: bool) -> TileGrid:
    """All cells of a zoom, reduced to those worth keeping."""
    empty = np.empty(0, np.float32)
    bounds = info.bounds
    grid = TileGrid(
        spec,
        info.require_mpp(),
        (bounds.x, bounds.y),
        (1, 1),
        np.empty((0, 2), np.int32),
        empty,
        empty.astype(np.int64),
    )
    shape = tuple(_count(side, step) for side, step in zip((bounds.height, bounds.width), grid.step[::-1], strict=True))
    cells = np.indices(shape, np.int32).reshape(2, -1).T
    share = mask.shares(bounds.x + cells[:, 1] * grid.step[0], bounds.y + cells[:, 0] * grid.step[1], grid.extent)
    keep = (share >= spec.min_tissue) & (share > 0) & (not only_parents)
    if finer is not None:
        rows, cols = _cells_of(finer, grid, (shape[0], shape[1]))
        keep[rows * shape[1] + cols] = True
    return TileGrid(
        spec,
        grid.mpp0,
        grid.origin,
        (shape[0], shape[1]),
        cells[keep],
        share[keep],
        np.full(int(keep.sum()), -1, np.int64),
    )


def _count(side: int, step: float) -> int:
    """Cells that cover a side; a rest of under half a level-0 pixel is rounding, not tissue."""
    return max(1, math.ceil((side - 0.5) / step))


def _cells_of(
    finer: TileGrid, coarser: TileGrid, shape: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row and column of the coarser grid's cell that holds the centre of each finer tile."""
    centre = finer.cells * np.array(finer.step[::-1]) + np.array(finer.extent[::-1]) / 2
    cells = np.minimum((centre / np.array(coarser.step[::-1])).astype(np.int64), np.array(shape) - 1)
    return cells[:, 0], cells[:, 1]


def _with_parent(grid: TileGrid, coarser: TileGrid | None) -> TileGrid:
    """The same grid with the index of each tile's parent."""
    if coarser is None:
        return grid
    index = np.full(coarser.shape, -1, np.int64)
    index[coarser.cells[:, 0], coarser.cells[:, 1]] = np.arange(len(coarser))
    return replace(grid, parent=index[_cells_of(grid, coarser, coarser.shape)])
