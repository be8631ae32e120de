"""What a DICOM file may claim, read element by element up to its pixel matrix; no value of more than 64 bytes is read.

Layout: DICOM PS3.5 section 7 (data elements), PS3.10 section 7 (file meta information).
"""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Final

from slides.errors import DamagedSlideError
from slides.guard_limits import MOST_PIECE_BYTES, MOST_TILES, require_image, require_safe, require_whole

if TYPE_CHECKING:
    from collections.abc import Iterator

SYNTAX, SAMPLES, FRAMES, ROWS, COLUMNS, BITS = 0x00020010, 0x00280002, 0x00280008, 0x00280010, 0x00280011, 0x00280100
MATRIX_COLUMNS, MATRIX_ROWS = 0x00480006, 0x00480007
WANTED: Final = {SYNTAX, SAMPLES, FRAMES, ROWS, COLUMNS, BITS, MATRIX_COLUMNS, MATRIX_ROWS}
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
IMPLICIT, BIG_ENDIAN, DEFLATED = b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.1.99"
LONG_FORM: Final = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
UNDEFINED: Final = 0xFFFFFFFF
MOST_ELEMENTS: Final = 20_000
"""Before the pixel matrix; a slide has a few hundred."""
MOST_DEPTH: Final = 32
LEAST_FRAME_BYTES: Final = 8
"""The heading of an empty item."""


@dataclass(slots=True)
class _Walk:
    """Where a walk through the elements stands."""

    file: BinaryIO
    size: int
    order: str = "<"
    explicit: bool = True
    depth: int = 0
    found: dict[int, bytes] = field(default_factory=dict)


def check_dicom(file: BinaryIO) -> bool:
    """Refuse absurd claims.

    Args:
        file: A regular file, open for reading.

    Returns:
        Whether it is a DICOM file at all.
    """
    file.seek(128)
    if file.read(4) != b"DICM":
        return False
    walk = _Walk(file, os.fstat(file.fileno()).st_size)
    for tag in _elements(walk):
        if tag >= MATRIX_ROWS:
            break
    columns, rows, frames = (_number(walk, tag, 1) for tag in (COLUMNS, ROWS, FRAMES))
    frame_bytes = columns * rows * _number(walk, SAMPLES, 1) * max(8, _number(walk, BITS, 8)) // 8
    require_safe("the slide claims tiles that are too large to decode", holds=frame_bytes <= MOST_PIECE_BYTES)
    most_frames = min(MOST_TILES, max(1, walk.size // LEAST_FRAME_BYTES))
    require_safe("the slide claims more tiles than its file can hold", holds=frames <= most_frames)
    require_image(max(1, _number(walk, MATRIX_COLUMNS, columns)), max(1, _number(walk, MATRIX_ROWS, rows)))
    return True


def _elements(walk: _Walk) -> Iterator[int]:
    """Tags of the top level in their order; small values that are wanted are kept on the way.

    Raises:
        DamagedSlideError: If there are more than any slide has.
    """
    for _ in range(MOST_ELEMENTS):
        at = walk.file.tell()
        if at + 8 > walk.size:
            return
        if at > 132 and walk.depth == 0:
            _enter_data_set(walk)
        tag, kind, length = _heading(walk)
        if walk.depth == 0:
            yield tag
        if not _descend(walk, tag, kind, length):
            _take(walk, tag, length)
    msg = "the slide's index is damaged: it claims more entries than a slide can have"
    raise DamagedSlideError(msg)


def _enter_data_set(walk: _Walk) -> None:
    """After the file meta information another encoding may begin."""
    syntax = walk.found.get(SYNTAX, b"").rstrip(b"\0 ")
    at = walk.file.tell()
    group = walk.file.read(2)
    walk.file.seek(at)
    if group == b"\x02\x00":
        return
    require_safe("the slide's header is compressed, which no scanner does", holds=syntax != DEFLATED)
    walk.explicit = syntax != IMPLICIT
    walk.order = ">" if syntax == BIG_ENDIAN else "<"


def _heading(walk: _Walk) -> tuple[int, bytes, int]:
    """Tag, value representation and length of the next element; the file then stands at its value."""
    head = walk.file.read(8)
    group, element = struct.unpack_from(walk.order + "HH", head)
    tag = group << 16 | element
    if not walk.explicit or group == 0xFFFE:
        return tag, b"", struct.unpack_from(walk.order + "I", head, 4)[0]
    if head[4:6] not in LONG_FORM:
        return tag, head[4:6], struct.unpack_from(walk.order + "H", head, 6)[0]
    length = walk.file.read(4)
    return tag, head[4:6], struct.unpack(walk.order + "I", length)[0] if len(length) == 4 else 0


def _descend(walk: _Walk, tag: int, kind: bytes, length: int) -> bool:
    """Step into, or out of, what has no stated length; False for a plain value."""
    if tag in {ITEM_END, SEQUENCE_END}:
        walk.depth = max(0, walk.depth - 1)
        return True
    if length != UNDEFINED:
        return False
    walk.depth += 1
    nests = walk.depth <= MOST_DEPTH and kind in {b"SQ", b"UN", b"", b"OB", b"OW"}
    require_whole("the slide's index is damaged: its parts have no end", holds=nests)
    return True


def _take(walk: _Walk, tag: int, length: int) -> None:
    """Keep a wanted value, skip any other."""
    at = walk.file.tell()
    require_whole("the slide is cut off: its index points beyond the end of the file", holds=at + length <= walk.size)
    if walk.depth == 0 and tag in WANTED and length <= 64:
        walk.found.setdefault(tag, walk.file.read(length))
    walk.file.seek(at + length)


def _number(walk: _Walk, tag: int, default: int) -> int:
    """A wanted value as a number; digits where the standard has text."""
    value = walk.found.get(tag)
    if value is None:
        return default
    if tag == FRAMES:
        match = re.match(rb"\s*\+?(\d{1,12})", value)
        return int(match[1]) if match else default
    form = {2: "H", 4: "I"}.get(len(value))
    return int(struct.unpack(walk.order + form, value)[0]) if form else default
