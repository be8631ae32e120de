"""Walk the directory chain of a TIFF with bounded reads, before any decoder sees the file.

A chain that leaves the file means that the slide was cut off; readers that stop quietly there would show a slide with
fewer levels than it has. Layout: TIFF 6.0 and BigTIFF.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, BinaryIO

from slides.errors import DamagedSlideError, NotASlideError

if TYPE_CHECKING:
    from pathlib import Path

MOST_DIRECTORIES = 1024
"""NDPI and multi-plane files have hundreds; thousands are a bomb."""
MOST_ENTRIES = 4096
MAGICS = {b"II*\0": ("<", False), b"MM\0*": (">", False), b"II+\0": ("<", True), b"MM\0+": (">", True)}


def require_whole_tiff(path: Path) -> bool:
    """Walk the chain of directories.

    Args:
        path: A file.

    Returns:
        Whether it is a TIFF at all.

    Raises:
        DamagedSlideError: If the chain leaves the file or never ends.
        NotASlideError: If it is a TIFF without any image.
    """
    with path.open("rb") as file:
        form = MAGICS.get(file.read(4))
        if form is None:
            return False
        size = path.stat().st_size
        order, big = form
        offset = _number(file, order + ("4xQ" if big else "I"), 4, size)
        if offset == 0:
            msg = "the file is a TIFF without any image"
            raise NotASlideError(msg)
        seen: set[int] = set()
        while offset:
            if offset in seen or len(seen) >= MOST_DIRECTORIES:
                msg = "the slide's index never ends"
                raise DamagedSlideError(msg)
            seen.add(offset)
            offset = _next(file, order, offset, size, big=big)
    return True


def _next(file: BinaryIO, order: str, offset: int, size: int, *, big: bool) -> int:
    """Offset of the directory after the one at `offset`, 0 for the last.

    Raises:
        DamagedSlideError: If the directory cannot be whole.
    """
    count = _number(file, order + ("Q" if big else "H"), offset, size)
    if count > MOST_ENTRIES:
        msg = "the slide's index is damaged: it claims more entries than a slide can have"
        raise DamagedSlideError(msg)
    after = offset + (8 + 20 * count if big else 2 + 12 * count)
    return _number(file, order + ("Q" if big else "I"), after, size)


def _number(file: BinaryIO, form: str, offset: int, size: int) -> int:
    """An unsigned number at an offset.

    Raises:
        DamagedSlideError: If it would lie outside of the file.
    """
    length = struct.calcsize(form)
    if offset + length > size:
        msg = "the slide is cut off: its index points beyond the end of the file"
        raise DamagedSlideError(msg)
    file.seek(offset)
    return int(struct.unpack(form, file.read(length))[0])
