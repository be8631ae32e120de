"""Which coarse tile holds a fine one, by place alone: for zooms whose tiles were cut by different people."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Extent = tuple[float, float]
"""Width and height of a tile, level-0 pixels."""


def holders(
    fine: NDArray[np.int64], fine_extent: Extent, coarse: NDArray[np.int64], coarse_extent: Extent
) -> NDArray[np.int64]:
    """Find the coarse tile that holds the centre of each fine tile; of several the one whose centre is nearest.

    Args:
        fine: Top-left corners [N, 2], level-0 pixels (x, y).
        fine_extent: Of a fine tile.
        coarse: Top-left corners [M, 2]; the tiles may overlap and need not lie on a grid.
        coarse_extent: Of a coarse tile.

    Returns:
        Rows of `coarse`, -1 where there is none; int64 [N].
    """
    size = np.array(coarse_extent, np.float64)
    centre = fine + np.array(fine_extent) / 2
    order, keys = _sorted(np.floor(coarse / size).astype(np.int64))
    best = np.full(len(fine), np.inf)
    found = np.full(len(fine), -1, np.int64)
    for step in ((0, 0), (0, -1), (-1, 0), (-1, -1)):  # a corner lies in the centre's square, or in one before it
        wanted = _key(np.floor(centre / size).astype(np.int64) + np.array(step))
        first, last = np.searchsorted(keys, wanted), np.searchsorted(keys, wanted, side="right")
        for turn in range(int((last - first).max(initial=0))):
            rows = np.flatnonzero(first + turn < last)
            tiles = order[first[rows] + turn]
            away = (centre[rows] - coarse[tiles]) / size - 0.5  # within +-0.5 inside
            distance = np.where(((away >= -0.5) & (away < 0.5)).all(axis=1), (away**2).sum(axis=1), np.inf)
            nearer = distance < best[rows]
            best[rows[nearer]], found[rows[nearer]] = distance[nearer], tiles[nearer]
    return found


def _sorted(squares: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    keys = _key(squares)
    order = np.argsort(keys, kind="stable")
    return order, keys[order]


def _key(squares: NDArray[np.int64]) -> NDArray[np.int64]:
    """One number a square [n]; slides have far fewer than 2**31 squares a side."""
    return squares[:, 0] * (1 << 32) + squares[:, 1]
