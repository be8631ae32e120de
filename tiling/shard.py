"""Shards of Zarr v3, read and written as whole files.

zarr-python writes a shard tile by tile and takes longer for that than decoding takes. A shard is simple enough to write
in one go: the tiles' chunks, then an index of offset and length for each, closed by a checksum (the `sharding_indexed`
codec of the Zarr v3 specification, with the index at the end and codecs bytes + crc32c). Any Zarr reader reads it.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

import google_crc32c
import numpy as np

from tiling import jpeg_codec
from tiling.errors import DamagedStoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tiling.members import Span

Keep = Literal["jpeg", "raw", "no"]
ABSENT = 2**64 - 1
"""Offset and length of a chunk that is not there; it reads as fill value."""
CHECKSUM_BYTES = 4


@dataclass(frozen=True, slots=True)
class ShardLayout:
    """What a reader must know of the shards of an array."""

    rows: int
    cols: int
    """Places in a shard."""
    px: int
    """Side of a tile."""
    keep: Keep
    """`jpeg` or `raw`."""

    @property
    def capacity(self) -> int:
        """Places in a shard, row by row."""
        return self.rows * self.cols


def write_shard(path: Path, tiles: Mapping[int, NDArray[np.uint8]], layout: ShardLayout) -> dict[str, int | str]:
    """Write a shard through to the disk.

    Args:
        path: Where; nothing may stand there yet.
        tiles: Place in the shard -> RGB [px, px, 3].
        layout: Of the shard.

    Returns:
        `bytes` and `sha256` of the file, for the manifest.
    """
    index = np.full((layout.capacity, 2), ABSENT, "<u8")
    digest, offset = hashlib.sha256(), 0
    with path.open("xb") as file:
        for place, tile in tiles.items():
            chunk = jpeg_codec.encode(tile) if layout.keep == "jpeg" else _flat(tile)
            index[place] = offset, len(chunk) + CHECKSUM_BYTES
            for part in (chunk, _checksum(chunk)):
                offset += file.write(part)
                digest.update(part)
        tail = index.tobytes()
        for part in (tail, _checksum(tail)):
            offset += file.write(part)
            digest.update(part)
        file.flush()
        os.fsync(file.fileno())
    return {"bytes": offset, "sha256": digest.hexdigest()}


def read_shard(shard: bytes, places: NDArray[np.int64], layout: ShardLayout) -> Iterator[NDArray[np.uint8]]:
    """Tiles of a shard.

    Args:
        shard: The file.
        places: Which, [n].
        layout: Of the shard.

    Returns:
        RGB [px, px, 3] in the order of the places.
    """
    return read_parts(lambda spans: (shard[at : at + length] for at, length in spans), len(shard), places, layout)


def read_parts(
    fetch: Callable[[Sequence[Span]], Iterable[bytes]], size: int, places: NDArray[np.int64], layout: ShardLayout
) -> Iterator[NDArray[np.uint8]]:
    """Tiles of a shard of which only the index and these tiles are fetched.

    Args:
        fetch: Gives parts of the file.
        size: Of the file in bytes.
        places: Which, [n].
        layout: Of the shard.

    Yields:
        RGB [px, px, 3] in the order of the places.

    Raises:
        DamagedStoreError: If the shard is cut off, a checksum is wrong or a tile is missing.
    """
    tail = layout.capacity * 16 + CHECKSUM_BYTES
    (last,) = fetch([(max(size - tail, 0), tail)])
    index = np.frombuffer(_checked(last, tail), "<u8").reshape(layout.capacity, 2)
    shape = (layout.px, layout.px, 3)
    spans = [(offset, length) for offset, length in index[places].tolist()]
    if any(offset + length > size - tail for offset, length in spans):
        msg = "a tile of the store is missing"
        raise DamagedStoreError(msg)
    for (_, length), part in zip(spans, fetch(spans), strict=True):
        chunk = _checked(part, length)
        yield (
            jpeg_codec.decode(chunk, shape) if layout.keep == "jpeg" else np.frombuffer(chunk, np.uint8).reshape(shape)
        )


def _flat(tile: NDArray[np.uint8]) -> bytes:
    """The tile's pixels as they lie, without a copy; an array is as good as bytes to all that follows."""
    return cast("bytes", np.ascontiguousarray(tile).reshape(-1))


def _checksum(data: bytes) -> bytes:
    return int(google_crc32c.value(data)).to_bytes(CHECKSUM_BYTES, "little")


def _checked(data: bytes, length: int) -> bytes:
    """What a checksum closes, without it.

    Raises:
        DamagedStoreError: If it does not fit.
    """
    content = data[:-CHECKSUM_BYTES]
    if len(data) != length or _checksum(content) != data[-CHECKSUM_BYTES:]:
        msg = "a checksum of the store does not fit"
        raise DamagedStoreError(msg)
    return content
