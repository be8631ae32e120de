"""Whether the edges of a polygon cross, in bounded time and memory; and the bound on what a document costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tiling.errors import MaskError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

MOST_WORK = 50_000_000
"""Steps that one document may cost, of some 0.1 us each: the mask of a large ragged slide takes a million."""
MOST_ENTRIES, MOST_CELLS = 4_000_000, 1024
"""Bounds on memory for one polygon: grid cells that edges touch (some 100 bytes each), cells a side."""


@dataclass(slots=True)
class Work:
    """What is left of the work that may be done for one document."""

    left: float = MOST_WORK
    """Steps."""

    def spend(self, steps: float) -> None:
        """Take steps from it, before they are done.

        Args:
            steps: How many.

        Raises:
            MaskError: If there are not as many.
        """
        self.left -= steps
        if self.left < 0:
            raise MaskError("the outlines of the mask are too complicated")


def crosses(rings: Sequence[NDArray[np.float64]], work: Work | None = None) -> bool:
    """Whether any two edges cross, of one ring or of two; touching at a point or along a line is allowed.

    Edges are put into the cells of a grid and compared within each cell.

    Args:
        rings: Each [n, 2] (x, y), open.
        work: What may be done for the document; a whole document's where None.

    Returns:
        Whether there is a crossing.
    """
    work = work or Work()
    start = np.concatenate(rings)
    end = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
    edges, cells = _cells(start, end, work)
    order = np.argsort(cells, kind="stable")
    edges, cells = edges[order], cells[order]
    return any(_pairs_cross(start, end, one, other) for one, other in _pairs(edges, cells, work))


def _spend_entries(count: float, work: Work) -> None:
    """Refuse what takes too much memory at once.

    Raises:
        MaskError: If there are too many entries.
    """
    work.spend(count)
    if count > MOST_ENTRIES:
        raise MaskError("an outline of the mask is too complicated")


def _cells(
    start: NDArray[np.float64], end: NDArray[np.float64], work: Work
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Edge and grid cell for each cell that an edge's box touches, row by row of the grid."""
    low, high = np.minimum(start, end), np.maximum(start, end)
    origin, extent = low.min(axis=0), np.maximum(np.ptp(np.concatenate([start, end]), axis=0), 1e-9)
    side = int(np.clip(np.sqrt(len(start)), 1, MOST_CELLS))
    first, last = (np.clip((corner - origin) / extent * side, 0, side - 1).astype(np.int64) for corner in (low, high))
    rows = last[:, 1] - first[:, 1] + 1
    _spend_entries(float(rows.sum()), work)
    edge, row = _spread(first[:, 1], rows)
    left, right = _span(start[edge], end[edge], (origin[1] + np.stack([row, row + 1]) * extent[1] / side))
    columns = np.clip((np.stack([left, right]) - origin[0]) / extent[0] * side, 0, side - 1)
    begin = np.maximum(np.floor(columns[0] - 1e-6), 0).astype(np.int64)
    stop = np.minimum(np.floor(columns[1] + 1e-6), side - 1).astype(np.int64)
    _spend_entries(float((stop - begin + 1).sum()), work)
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


def _pairs(
    edges: NDArray[np.int64], cells: NDArray[np.int64], work: Work
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Pairs of edges of one cell; entries are sorted by cell."""
    _, count = np.unique(cells, return_counts=True)
    work.spend(float((count.astype(np.float64) * (count - 1) / 2).sum()))
    same = np.arange(len(cells))
    for gap in range(1, int(count.max())):  # what has no partner at a gap has none at a larger one
        same = same[: np.searchsorted(same, len(cells) - gap)]
        same = same[cells[same + gap] == cells[same]]
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
