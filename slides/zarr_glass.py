"""What is shown where a Zarr image has no chunk: glass, if the slide is brightfield.

Zarr says `fill_value` for chunks that are not there, and writers leave it at 0: black. On a stained slide that would be
taken for pigment or necrosis, and a chunk that was lost would look like one that was black. So what is not stored is
white, as tiles are that other formats leave out. Of a dark slide (fluorescence) black is the background: it stays.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from slides.codestream import BROKEN
from slides.identity import sample

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Read = Callable[[zarr.Array[Any], int, int], NDArray[np.uint8]]
    """Pixels of one chunk by its row and column, RGB [h, w, 3]."""

WHITE, BLACK = 255, 0
BRIGHT = 100
"""Median grey of what is stored from which on a slide is brightfield; sections have 170 and more, fluorescence 30."""
MOST_CHUNKS = 8
MOST_BYTES = 1 << 26
"""Of chunks that are looked at."""


def filled(array: zarr.Array[Any], value: int) -> zarr.Array[Any]:
    """An array that shows a value where it has no chunk, inside shards too.

    Args:
        array: Any.
        value: What to show.

    Returns:
        The same array otherwise.
    """
    inner = array.async_array
    metadata: Any = inner.metadata
    return zarr.Array(replace(inner, metadata=replace(metadata, fill_value=np.uint8(value))))


def is_brightfield(array: zarr.Array[Any], shape: Sequence[int], read: Read) -> bool:
    """Whether what is stored of a level is bright.

    Args:
        array: The level, the coarsest there is.
        shape: Rows and columns of its chunks.
        read: Reads a chunk.

    Returns:
        True where it is; False also where nothing is stored or what is cannot be decoded, which the next read reports.
    """
    white, black = filled(array, WHITE), filled(array, BLACK)
    most = max(1, min(MOST_CHUNKS, MOST_BYTES // int(np.prod(array.chunks))))
    places = sample(shape[0] * shape[1])
    stored = []
    try:
        for number in places[:: max(1, -(-len(places) // most))]:
            row, col = divmod(number, shape[1])
            over, under = read(white, row, col), read(black, row, col)
            stored.append(under[(over == under).any(axis=2)].reshape(-1))
    except (*BROKEN, OSError):
        return False
    values = np.concatenate(stored)
    return len(values) > 0 and float(np.median(values)) >= BRIGHT
