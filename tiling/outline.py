"""Outlines of a mask along the edges of its pixels, and back: exact, whatever the mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from tiling.crossing import Work

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """One piece of a mask: an outer ring and its holes, each [n, 2] (x, y), open (the first corner is not repeated)."""

    outer: NDArray[np.float64]
    holes: tuple[NDArray[np.float64], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Corners:
    """Places where the edge of a mask turns; where two pixels touch at a corner, both turn."""

    places: NDArray[np.int64]
    """[n, 2] (x, y)."""
    across: NDArray[np.int64]
    """Index of the corner at the other end of the horizontal edge, [n]."""
    along: NDArray[np.int64]
    """Index of the corner at the other end of the vertical edge, [n]."""
    label: NDArray[np.int64]
    """Which piece of the mask the corner belongs to, [n]."""


def outlines_of(mask: NDArray[np.bool_]) -> list[Outline]:
    """Outlines of all pieces of a mask.

    Pixels are one piece where they share an edge, so that every ring is simple: rings may touch at corners, as the
    Simple Features standard allows, and never cross.

    Args:
        mask: [h, w].

    Returns:
        One outline a piece, in pixel edges: a mask of one pixel has the corners 0, 0 and 1, 1.
    """
    if not mask.any():
        return []
    padded = np.pad(mask, 1)
    corners = _corners(padded)
    outer: dict[int, NDArray[np.float64]] = {}
    holes: dict[int, list[NDArray[np.float64]]] = {}
    for index in _rings(corners):
        ring = corners.places[index]
        first = np.lexsort((ring[:, 0], ring[:, 1]))[0]  # the ring's inside lies right of and below this corner
        piece = int(corners.label[index[0]])
        if mask[ring[first, 1], ring[first, 0]]:
            outer[piece] = _turned(ring, clockwise=True)
        else:
            holes.setdefault(piece, []).append(_turned(ring, clockwise=False))
    return [Outline(ring, tuple(holes.get(piece, ()))) for piece, ring in sorted(outer.items())]


def _turned(ring: NDArray[np.int64], *, clockwise: bool) -> NDArray[np.float64]:
    """A ring in the order that makes its area positive (clockwise as seen, y down) or negative."""
    corners = ring.astype(np.float64)
    return corners if (area(corners) > 0) == clockwise else corners[::-1]


def area(ring: NDArray[np.float64]) -> float:
    """Signed area by the shoelace formula, positive for clockwise as seen with y down.

    Args:
        ring: [n, 2].

    Returns:
        Square pixels.
    """
    x, y = (ring - ring[0]).T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def _corners(padded: NDArray[np.bool_]) -> _Corners:
    """All corners of a mask with an empty frame, joined in pairs along rows and along columns."""
    labels = np.asarray(cv2.connectedComponents(padded.astype(np.uint8), connectivity=4)[1], np.int32)
    upper_left, upper_right = padded[:-1, :-1], padded[:-1, 1:]
    lower_left, lower_right = padded[1:, :-1], padded[1:, 1:]
    odd = upper_left ^ upper_right ^ lower_left ^ lower_right
    falling = upper_left & lower_right & ~upper_right & ~lower_left
    rising = upper_right & lower_left & ~upper_left & ~lower_right
    parts = [
        _found(odd, np.where(upper_left, 0, np.where(upper_right, 1, np.where(lower_left, 2, 3))), labels, 0),
        _found(falling, np.zeros_like(odd, int), labels, 0),  # the left edge and the upper edge turn into each other
        _found(falling, np.full_like(odd, 3, int), labels, 3),  # the right and the lower
        _found(rising, np.full_like(odd, 2, int), labels, 1),  # the left and the lower
        _found(rising, np.full_like(odd, 1, int), labels, 2),  # the right and the upper
    ]
    x, y, label, kind = (np.concatenate(column) for column in zip(*parts, strict=True))
    right, lower = kind // 2, kind % 2
    return _Corners(
        np.stack([x, y], axis=1), _paired(np.lexsort((right, x, y))), _paired(np.lexsort((lower, y, x))), label
    )


def _found(
    where: NDArray[np.bool_], pixel: NDArray[np.int64], labels: NDArray[np.int32], kind: int
) -> tuple[NDArray[np.int64], ...]:
    """x, y, label and kind of the corners of one sort; `pixel` names one of the four pixels that is in the mask.

    Kinds: bit 1 set where the corner's horizontal edge lies right of it though a twin shares the place, bit 0 where
    its vertical edge lies below.
    """
    y, x = np.nonzero(where)
    which = pixel[y, x]
    label = labels[y + which // 2, x + which % 2].astype(np.int64)
    return x.astype(np.int64), y.astype(np.int64), label, np.full(len(x), kind, np.int64)


def _paired(order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Partner of each corner: in order, the first belongs to the second, the third to the fourth, and so on."""
    partner = np.empty_like(order)
    partner[order[0::2]], partner[order[1::2]] = order[1::2], order[0::2]
    return partner


def _rings(corners: _Corners) -> Iterator[list[int]]:
    """Indices of the corners of each simple ring."""
    across, along = corners.across.tolist(), corners.along.tolist()
    places = list(map(tuple, corners.places.tolist()))
    seen = bytearray(len(places))
    for start in range(len(places)):
        if seen[start]:
            continue
        ring, at = [], start
        while not seen[at]:
            seen[at] = seen[across[at]] = 1
            ring += [at, across[at]]
            at = along[across[at]]
        yield from _split(ring, places)


def _split(ring: list[int], places: Sequence[tuple[int, ...]]) -> Iterator[list[int]]:
    """Cut a ring that comes to one place twice into rings that do not."""
    path: list[int] = []
    position: dict[tuple[int, ...], int] = {}
    for corner in ring:
        place = places[corner]
        if place in position:
            first = position[place]
            yield path[first:]
            for gone in path[first:]:
                del position[places[gone]]
            del path[first:]
        position[place] = len(path)
        path.append(corner)
    yield path


AT_ONCE = 1 << 20
"""Pixels of the result, and edges times rows, that are worked on at once: some 60 bytes each."""
PIXELS_A_STEP = 16
"""Pixels that are filled in the time of a step of `Work`."""


def fill(rings: Sequence[NDArray[np.float64]], shape: tuple[int, int], work: Work | None = None) -> NDArray[np.bool_]:
    """Pixels whose centre lies inside rings, by the even-odd rule; a centre on an edge belongs right and below.

    Args:
        rings: Each [n, 2] (x, y) in pixel edges.
        shape: Rows and columns of the result.
        work: What may be done for the document; a whole document's where None.

    Returns:
        [h, w].
    """
    start = np.concatenate(rings)
    end = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
    swap = start[:, 1] > end[:, 1]
    upper, lower = np.where(swap[:, None], end, start), np.where(swap[:, None], start, end)
    first, last = (np.clip(np.ceil(tip[:, 1] - 0.5), 0, shape[0]).astype(np.int64) for tip in (upper, lower))
    (work or Work()).spend(float((last - first).sum()) + shape[0] * shape[1] / PIXELS_A_STEP)
    filled = np.zeros(shape, np.bool_)
    for top, bottom in _strips(first, last, shape):
        near = np.flatnonzero((first < bottom) & (last > top))
        rows = np.clip(first[near], top, bottom), np.clip(last[near], top, bottom)
        filled[top:bottom] = _strip(upper[near], lower[near], rows, (top, bottom - top, shape[1]))
    return filled


def _strips(first: NDArray[np.int64], last: NDArray[np.int64], shape: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Rows from and to of strips that take about as much memory as `AT_ONCE` says, never less than a row."""
    size = shape[0] + 1
    edges = np.cumsum(np.bincount(first, minlength=size) - np.bincount(last, minlength=size))[: shape[0]]
    number = np.cumsum(edges + shape[1] + 1) // AT_ONCE
    cuts = (np.flatnonzero(np.diff(number)) + 1).tolist()
    yield from zip([0, *cuts], [*cuts, shape[0]], strict=True)


def _strip(
    upper: NDArray[np.float64],
    lower: NDArray[np.float64],
    rows: tuple[NDArray[np.int64], NDArray[np.int64]],
    where: tuple[int, int, int],
) -> NDArray[np.bool_]:
    """Fill some rows: ends of the edges that cross them, first and last row of each, and top, height and width."""
    (first, last), (top, height, width) = rows, where
    count = last - first
    edge = np.repeat(np.arange(len(first)), count)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    slope = (lower[edge, 0] - upper[edge, 0]) / (lower[edge, 1] - upper[edge, 1])
    x = upper[edge, 0] + (row + 0.5 - upper[edge, 1]) * slope
    column = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)
    turns = np.bincount((row - top) * (width + 1) + column, minlength=height * (width + 1))
    parity = np.cumsum(turns.reshape(height, width + 1), axis=1) & 1
    return np.asarray(parity[:, :width], np.bool_)
