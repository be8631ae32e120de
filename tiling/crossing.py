"""Whether the edges of a polygon cross, in bounded time and memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tiling.errors import MaskError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

MOST_ENTRIES, MOST_PAIRS, MOST_CELLS = 20_000_000, 20_000_000, 1024
"""Bounds on the work for one polygon: grid cells that edges touch, pairs of edges that are compared, cells a side."""


def crosses(rings: Sequence[NDArray[np.float64]]) -> bool:
    """Whether any two edges cross, of one ring or of two; touching at a point or along a line is allowed.

    Edges are put into the cells of a grid and compared within each cell.

    Args:
        rings: Each [n, 2] (x, y), open.

    Returns:
        Whether there is a crossing.
    """
    start = np.concatenate(rings)
    end = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
    edges, cells = _cells(start, end)
    order = np.argsort(cells, kind="stable")
    edges, cells = edges[order], cells[order]
    return any(_pairs_cross(start, end, one, other) for one, other in _pairs(edges, cells))


def _too_much(work: float, most: int) -> None:
    """Refuse to work for too long.

    Raises:
        MaskError: If the work is more than the most.
    """
    if work > most:
        raise MaskError("the outlines of the mask are too complicated")


def _cells(start: NDArray[np.float64], end: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Edge and grid cell for each cell that an edge's box touches, row by row of the grid."""
    low, high = np.minimum(start, end), np.maximum(start, end)
    origin, extent = low.min(axis=0), np.maximum(np.ptp(np.concatenate([start, end]), axis=0), 1e-9)
    side = int(np.clip(np.sqrt(len(start)), 1, MOST_CELLS))
    first, last = (np.clip((corner - origin) / extent * side, 0, side - 1).astype(np.int64) for corner in (low, high))
    rows = last[:, 1] - first[:, 1] + 1
    _too_much(float(rows.sum()), MOST_ENTRIES)
    edge, row = _spread(first[:, 1], rows)
    left, right = _span(start[edge], end[edge], (origin[1] + np.stack([row, row + 1]) * extent[1] / side))
    columns = np.clip((np.stack([left, right]) - origin[0]) / extent[0] * side, 0, side - 1)
    begin = np.maximum(np.floor(columns[0] - 1e-6), 0).astype(np.int64)
    stop = np.minimum(np.floor(columns[1] + 1e-6), side - 1).astype(np.int64)
    _too_much(float((stop - begin + 1).sum()), MOST_ENTRIES)
    entry, column = _spread(begin, stop - begin + 1)
    return edge[entry], row[entry] * side + column


def _spread(first: NDArray[np.int64], count: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Index and number for each of the `count` numbers from `first` on."""
    index = np.repeat(np.arange(len(first)), count)
    return index, np.arange(len(index)) - np.repeat(np.cumsum(count) - count, count) + first[index]


def _span(
    start: NDArray[np.float64], end: NDArray[np.float64], rows: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Least and greatest x of each edge between two heights."""
    step = end[:, 1] - start[:, 1]
    flat = step == 0
    share = np.where(flat, np.array([[0.0], [1.0]]), (rows - start[:, 1]) / np.where(flat, 1.0, step))
    x = start[:, 0] + np.clip(share, 0, 1) * (end[:, 0] - start[:, 0])
    return x.min(axis=0), x.max(axis=0)


def _pairs(edges: NDArray[np.int64], cells: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Pairs of edges of one cell; entries are sorted by cell."""
    _, count = np.unique(cells, return_counts=True)
    _too_much(float((count.astype(np.float64) * (count - 1) / 2).sum()), MOST_PAIRS)
    for gap in range(1, int(count.max())):
        same = np.flatnonzero(cells[gap:] == cells[:-gap])
        yield edges[same], edges[same + gap]


def _pairs_cross(
    start: NDArray[np.float64], end: NDArray[np.float64], one: NDArray[np.int64], other: NDArray[np.int64]
) -> bool:
    """Whether any pair crosses: the ends of each lie strictly on both sides of the other."""
    sides = [
        _side(start[one], end[one], start[other]) * _side(start[one], end[one], end[other]),
        _side(start[other], end[other], start[one]) * _side(start[other], end[other], end[one]),
    ]
    return bool(np.any((sides[0] < 0) & (sides[1] < 0)))


def _side(start: NDArray[np.float64], end: NDArray[np.float64], point: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 where a point lies left of an edge, -1 right, 0 on it."""
    one, two = end - start, point - start
    return np.asarray(np.sign(one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0]))
