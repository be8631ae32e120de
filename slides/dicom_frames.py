"""Where the frames of a DICOM instance lie in its file (PS3.5 annex A.4; PS3.3 C.7.6.3.1.8 for the extended table)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from slides.errors import DamagedSlideError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from pydicom import Dataset

    from slides.storage import ByteSource

PIXEL_DATA, ITEM, DELIMITER = b"\xe0\x7f\x10\x00", b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
UNDEFINED = 0xFFFFFFFF
ITEM_HEADER = 8
STREAM_STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff")
"""How a frame of JPEG or JPEG 2000 begins: tells fragments that go on from those that start a frame."""


def frame_spans(data: ByteSource, at: int, header: Dataset, frame_bytes: int) -> NDArray[np.int64]:
    """Offset and length of every frame.

    Args:
        data: The file.
        at: Where its pixel data element begins.
        header: The instance's attributes; may hold an extended offset table.
        frame_bytes: Bytes of an uncompressed frame.

    Returns:
        int64 [frames, 2]. A compressed frame's span holds its items with their headers; `unwrapped` joins them.

    Raises:
        DamagedSlideError: If the frames cannot be told apart, or do not fit into the file.
    """
    count = max(1, int(header.get("NumberOfFrames") or 1))
    start, length = _value_of_pixel_data(data, at, implicit=header.file_meta.TransferSyntaxUID.is_implicit_VR)
    if length != UNDEFINED:
        fitting = min(count, max(0, data.size - start) // frame_bytes)
        spans = np.stack([start + np.arange(fitting) * frame_bytes, np.full(fitting, frame_bytes)], axis=1)
    else:
        spans = _encapsulated(data, start, header, count)
    if len(spans) != count or int(spans.sum(axis=1).max()) > data.size:
        msg = "the slide is cut off: its file is shorter than its frame index says"
        raise DamagedSlideError(msg)
    return spans


def unwrapped(stream: bytes) -> bytes:
    """The bytes of a compressed frame.

    Args:
        stream: Its items with their headers; what follows the last one is left out.

    Returns:
        The fragments, joined.
    """
    first = int.from_bytes(stream[4:ITEM_HEADER], "little")
    if len(stream) == ITEM_HEADER + first:
        return stream[ITEM_HEADER:]
    fragments, at = [], 0
    while stream[at : at + 4] == ITEM:
        length = int.from_bytes(stream[at + 4 : at + ITEM_HEADER], "little")
        fragments.append(stream[at + ITEM_HEADER : at + ITEM_HEADER + length])
        at += ITEM_HEADER + length
    return b"".join(fragments)


def _value_of_pixel_data(data: ByteSource, at: int, *, implicit: bool) -> tuple[int, int]:
    """Where the value of the pixel data element begins, and its length.

    Raises:
        DamagedSlideError: If no pixel data begins there.
    """
    head = data.read(at, 12)
    if head[:4] != PIXEL_DATA or len(head) < 12:
        msg = "the slide has no pixel data: its file is cut off"
        raise DamagedSlideError(msg)
    if implicit:
        return at + 8, int.from_bytes(head[4:8], "little")
    return at + 12, int.from_bytes(head[8:12], "little")


def _encapsulated(data: ByteSource, start: int, header: Dataset, count: int) -> NDArray[np.int64]:
    """Spans of compressed frames: by the extended table, the basic table, or the fragments themselves."""
    table = data.read(start, ITEM_HEADER)
    length = int.from_bytes(table[4:], "little") if table[:4] == ITEM else 0
    first = start + ITEM_HEADER + length
    extended, lengths = header.get("ExtendedOffsetTable"), header.get("ExtendedOffsetTableLengths")
    if extended and lengths and len(extended) == len(lengths) == 8 * count:
        offsets = np.frombuffer(extended, "<u8").astype(np.int64)
        return np.stack([offsets + first, np.frombuffer(lengths, "<u8").astype(np.int64) + ITEM_HEADER], axis=1)
    if length == 4 * count:
        offsets = np.frombuffer(data.read(start + ITEM_HEADER, length), "<u4").astype(np.int64)
        if len(offsets) == count and offsets[0] == 0 and (np.diff(offsets) > 0).all():  # it wraps round beyond 4 GiB
            end = _end_of_frame(data, first + int(offsets[-1]))
            return np.stack([offsets + first, np.diff(offsets, append=end - first)], axis=1)
    return _by_fragments(data, first, count)


def _by_fragments(data: ByteSource, first: int, count: int) -> NDArray[np.int64]:
    """Spans where no table tells them.

    Raises:
        DamagedSlideError: If the number of fragments does not fit the number of frames.
    """
    items = list(_items(data, first))
    if len(items) != count and count > 1:
        starts = [data.read(at + ITEM_HEADER, 3) in STREAM_STARTS for at, _ in items]
    else:
        starts = [i == 0 or count > 1 for i in range(len(items))]
    begins = [at for (at, _), begin in zip(items, starts, strict=True) if begin]
    if len(begins) != count or not starts[0]:
        msg = "the frames of the slide cannot be told apart, or some are missing"
        raise DamagedSlideError(msg)
    end = items[-1][0] + ITEM_HEADER + items[-1][1]
    return np.stack([np.array(begins, np.int64), np.diff(begins, append=end)], axis=1)


def _items(data: ByteSource, at: int) -> Iterator[tuple[int, int]]:
    """Offset and length of the items up to the delimiter."""
    while True:
        head = data.read(at, ITEM_HEADER)
        if len(head) < ITEM_HEADER or head[:4] != ITEM:
            return
        length = int(struct.unpack("<I", head[4:])[0])
        yield at, length
        at += ITEM_HEADER + length


def _end_of_frame(data: ByteSource, at: int) -> int:
    """Where the last frame, and with it the pixel data, ends."""
    end = at
    for offset, length in _items(data, at):
        end = offset + ITEM_HEADER + length
    return end
