"""Tiles as pure geometry: what to cut where, exact in micrometres, without any pixels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from slides import Mpp
from tiling.spec import TileSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

UM2_PER_MM2 = 1e6


@dataclass(frozen=True, slots=True)
class TileGrid:
    """The kept tiles of one zoom, row by row."""

    spec: TileSpec
    mpp0: Mpp
    """Scale of level 0."""
    origin: tuple[int, int]
    """Level-0 x, y of cell (0, 0): the top left of the scanned part."""
    shape: tuple[int, int]
    """Rows and columns of the full grid, kept or not."""
    cells: NDArray[np.int32] = field(repr=False)
    """Row and column of each kept tile, [N, 2]."""
    tissue: NDArray[np.float32] = field(repr=False)
    """Tissue share of each kept tile, [N]."""
    parent: NDArray[np.int64] = field(repr=False)
    """Index of the tile of the next coarser grid that holds this tile's centre, -1 where there is none, [N]."""
    snap: float = 1.0
    """Level-0 pixels that corners and sides are whole multiples of: one pixel of what the tiles are cut from, so that a
    tile shows exactly the place that it names."""

    def __len__(self) -> int:
        """How many tiles are kept."""
        return len(self.cells)

    @property
    def mpp(self) -> float:
        """Scale of the tiles in micrometres per pixel."""
        return self.spec.mpp

    @property
    def step(self) -> tuple[float, float]:
        """Level-0 pixels from one tile to the next, in x and y; a fraction where the scales do not divide."""
        return self.spec.stride * self.mpp / self.mpp0.x, self.spec.stride * self.mpp / self.mpp0.y

    @property
    def extent(self) -> tuple[float, float]:
        """Level-0 pixels that a tile covers, in x and y."""
        return self.spec.px * self.mpp / self.mpp0.x, self.spec.px * self.mpp / self.mpp0.y

    @property
    def coords(self) -> NDArray[np.int64]:
        """Top left of each tile in level-0 pixels (x, y), [N, 2]; rounded once, so that no error adds up."""
        return self.corners(self.cells)

    @property
    def side(self) -> tuple[int, int]:
        """Width and height that are cut for a tile in level-0 pixels: `extent` in whole pixels of the source.

        One size for all, because the size decides how a reader shrinks; neighbours overlap or miss by a pixel of the
        source at most.
        """
        width, height = (max(1, round(max(1, round(side / self.snap)) * self.snap)) for side in self.extent)
        return width, height

    def corners(self, cells: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """Where cells lie, kept or not.

        Args:
            cells: Row and column, [n, 2].

        Returns:
            Level-0 x, y of their top left, [n, 2].
        """
        exact = np.array(self.origin) + cells[:, ::-1] * np.array(self.step)
        return np.asarray(np.rint(np.rint(exact / self.snap) * self.snap), np.int64)

    @property
    def tile_area_mm2(self) -> float:
        """Area that one tile stands for in square millimetres; what neighbours share is counted once."""
        return (self.spec.stride * self.mpp) ** 2 / UM2_PER_MM2
