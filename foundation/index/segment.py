"""A segment: the tiles of one slide in an index, a Zarr v3 group without compression.

::

    <fingerprint>/
        manifest.json    every member with size and SHA-256
        zarr.json
        rows             float16 [N, D] of length 1: the truth
        codes            int8 [N, D]: the same, rounded
        first            float32 [N, 2]: step of the codes, and how far they may be off for a query of length 1
        check            uint32 [N, 1]: CRC-32C of each row of `rows`
        coords           int64 [N, 2] level-0 x, y of the top left
        tissue           float32 [N, 12] shares of the tissues, where the tissue head reads the encoder

A chunk is its rows as they stand in memory and four bytes of CRC-32C, so that a scan reads whole chunks with one call
each and checks them, and single rows are read, and checked, at their place. Zarr reads the same files.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import google_crc32c
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec

from foundation.errors import IndexStoreError
from foundation.index.quantise import quantise
from foundation.tissue import TISSUES

KIND: Final = "oncoscope-index-segment"
FORMAT: Final = 1
BLOCK_BYTES: Final = 2 << 20
"""Of codes in a chunk: large enough that opening a file does not matter, small enough for a processor's cache."""
DENSE: Final = 4
"""A chunk of which one row in so many is wanted is read whole."""
DAMAGED: Final = "The index is damaged: a block cannot be read as it was written; oncoscope verify names it."


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment for reading; it holds no file open."""

    path: Path
    tiles: int
    """N."""
    dim: int
    """D."""

    @property
    def block_rows(self) -> int:
        """Rows of a chunk; the last one holds fewer and is filled up."""
        return block_rows(self.tiles, self.dim)

    @property
    def blocks(self) -> int:
        """Chunks of each array."""
        return -(-self.tiles // self.block_rows)

    def block(self, name: str, number: int) -> NDArray[Any]:
        """One chunk, checked.

        Args:
            name: Of the array.
            number: Of the chunk.

        Returns:
            Its rows [n, W], without the filling.

        Raises:
            IndexStoreError: If it is not what was written.
        """
        kind, width = shape_of(name, self.dim)
        handle = self._open(name, number)
        try:
            size = self.block_rows * width * kind.itemsize
            data, said = os.pread(handle, size, 0), os.pread(handle, 5, size)
        finally:
            os.close(handle)
        if len(data) != size or google_crc32c.value(data).to_bytes(4, "little") != said:
            raise IndexStoreError(DAMAGED)
        whole = np.frombuffer(data, kind).reshape(self.block_rows, width)
        return whole[: self.tiles - number * self.block_rows]

    def take(self, name: str, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Some rows of an array, by its whole chunks.

        Args:
            name: Of the array; not for the large ones.
            rows: Places [n] in the segment, ascending.

        Returns:
            [n, W].
        """
        return self._gather(name, rows, self.block)

    def rows(self, rows: NDArray[np.int64]) -> NDArray[np.float16]:
        """Some rows of the truth, each checked; few are read at their places.

        Args:
            rows: Places [n] in the segment, ascending.

        Returns:
            [n, D].
        """
        return self._gather("rows", rows, None)

    def _gather(self, name: str, rows: NDArray[np.int64], read: Any) -> NDArray[Any]:  # noqa: ANN401 - see the callers
        kind, width = shape_of(name, self.dim)
        found = np.empty((len(rows), width), kind)
        numbers = rows // self.block_rows
        for number in np.unique(numbers):
            here = numbers == number
            places = rows[here] - number * self.block_rows
            if read is not None or len(places) * DENSE > self.block_rows:
                found[here] = self.block(name, int(number))[places]
            else:
                found[here] = self._single(int(number), places)
        return found

    def _single(self, number: int, places: NDArray[np.int64]) -> NDArray[np.float16]:
        """Rows of one chunk, read one by one.

        Raises:
            IndexStoreError: If one is not what was written.
        """
        size = 2 * self.dim
        handle = self._open("rows", number)
        try:
            read = [os.pread(handle, size, int(place) * size) for place in places]
        finally:
            os.close(handle)
        check = self.block("check", number)[places, 0]
        if any(len(data) != size or google_crc32c.value(data) != said for data, said in zip(read, check, strict=True)):
            raise IndexStoreError(DAMAGED)
        return np.frombuffer(b"".join(read), "<f2").reshape(len(places), self.dim)

    def _open(self, name: str, number: int) -> int:
        try:
            return os.open(self.path / name / "c" / str(number) / "0", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise IndexStoreError(DAMAGED) from error


def shape_of(name: str, dim: int) -> tuple[np.dtype[Any], int]:
    """What an array holds.

    Args:
        name: Of the array.
        dim: D.

    Returns:
        Type and width of a row.
    """
    kinds = {"rows": ("<f2", dim), "codes": ("i1", dim), "first": ("<f4", 2), "check": ("<u4", 1)}
    kind, width = (kinds | {"coords": ("<i8", 2), "tissue": ("<f4", len(TISSUES))})[name]
    return np.dtype(kind), width


def block_rows(tiles: int, dim: int) -> int:
    """Rows of a chunk: as many chunks as it takes, all of nearly the same length.

    Args:
        tiles: N.
        dim: D.

    Returns:
        At least 1.
    """
    chunks = max(1, -(-tiles * dim // BLOCK_BYTES))
    return max(1, -(-tiles // chunks))


def write_segment(folder: Path, rows: NDArray[np.float16], tiles: dict[str, NDArray[Any]]) -> None:
    """Write a segment into a staging folder.

    Args:
        folder: The staging folder.
        rows: Of length 1 [N, D].
        tiles: `coords` [N, 2], and `tissue` [N, 12] where there is one.
    """
    count, dim = rows.shape
    length = block_rows(count, dim)
    codes, first = np.empty((count, dim), np.int8), np.empty((count, 2), np.float32)
    for begin in range(0, count, length):
        part = slice(begin, begin + length)
        codes[part], first[part] = quantise(rows[part])
    check = np.array([[google_crc32c.value(row.tobytes())] for row in rows], np.uint32).reshape(count, 1)
    group = zarr.create_group(folder)
    arrays: dict[str, NDArray[Any]] = {"rows": rows, "codes": codes, "first": first, "check": check, **tiles}
    for name, array in arrays.items():
        group.create_array(
            name,
            data=array,
            chunks=(length, array.shape[1]),
            filters=(),
            compressors=(Crc32cCodec(),),
            config={"write_empty_chunks": True},  # else a chunk of zeros has no file
        )
