"""The content hash: which pixels a slide holds, blind to label, macro image and header text.

A copy from which the patient's data were removed has the same hash as the original, and the hash tells nothing of the
patient.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import numpy as np
import tifffile

from slides.errors import DamagedSlideError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from slides.geometry import Size
    from slides.storage import ByteSource

BLOCK = 1 << 20
"""Bytes read from the file at once."""
REMEMBERED = 256
"""Slides whose hash a process remembers, so that opening one again does not read it again."""

_known: OrderedDict[tuple[str, ...], str] = OrderedDict()


def content_hash(identity: tuple[str, ...], size: Size, content: Callable[[], Iterable[bytes]]) -> str:
    """Hash the pixel data of a slide.

    Args:
        identity: Where the slide lies and what changes when it does, such as size and time: the process remembers
            the hash under it and reads a slide anew when it changes.
        size: Size of level 0 in pixels.
        content: Gives what stands for the pixels: the compressed level-0 tiles in their order (TIFF family, DICOM,
            Zarr), or the decoded pixels of one coarse level (all other formats).

    Returns:
        SHA-256 as 64 hex digits, over the size and the content.

    A slide at a remote address is read once in full for this.
    """
    known = _known.get(identity)
    if known is None:
        digest = hashlib.sha256(f"oncoscope-content-1 {size.width}x{size.height}".encode())
        for part in content():
            digest.update(part)
        known = _known[identity] = digest.hexdigest()
        while len(_known) > REMEMBERED:
            _known.popitem(last=False)
    return known


def recalled() -> dict[tuple[str, ...], str]:
    """What this process remembers.

    Returns:
        Identity -> hash.
    """
    return dict(_known)


def recall(known: dict[tuple[str, ...], str]) -> None:
    """Remember what another process found.

    Args:
        known: What its `recalled` gave.
    """
    _known.update(known)


def file_identity(path: Path) -> tuple[str, ...]:
    """What changes when a file does.

    Args:
        path: The file.

    Returns:
        Its place, size, time and number.
    """
    stat = path.stat()
    return str(path), str(stat.st_size), str(stat.st_mtime_ns), str(stat.st_ino)


def file_content(path: Path, size: Size, pixels: Callable[[], NDArray[np.uint8]]) -> Iterator[bytes]:
    """What stands for the pixels of a file that only OpenSlide reads.

    Args:
        path: The file.
        size: Size of level 0 in pixels.
        pixels: Gives decoded pixels that stand for the slide where its compressed tiles cannot be found.

    Yields:
        Compressed level-0 tiles of a TIFF, or the decoded pixels.
    """
    spans = _tiff_spans(path, size)
    if spans is not None:
        yield from _tiles(path, spans)
    else:
        yield np.ascontiguousarray(pixels()).tobytes()


@contextmanager
def nameless_tiff(source: Path | ByteSource) -> Iterator[tifffile.TiffFile]:
    """Open a TIFF so that the library cannot write the file's name, which may be a patient's, into logs.

    Args:
        source: The file.

    Yields:
        The open file.
    """
    with source.open("rb") as file, tifffile.TiffFile(file, name="slide") as tiff:
        yield tiff


def _tiff_spans(path: Path, size: Size) -> list[tuple[int, int]] | None:
    """Offset and length of every level-0 tile, in the order of the tile index; None for a file that is no TIFF."""
    with suppress(tifffile.TiffFileError, OSError, ValueError), nameless_tiff(path) as tiff:
        for page in tiff.pages:
            if page.shape[:2] == (size.height, size.width) and len(page.dataoffsets) > 0:
                return list(zip(page.dataoffsets, page.databytecounts, strict=True))
    return None


def _tiles(path: Path, spans: Iterable[tuple[int, int]]) -> Iterator[bytes]:
    """Tiles in index order.

    Raises:
        DamagedSlideError: If the file is shorter than its tile index says.
    """
    end = path.stat().st_size
    with path.open("rb", buffering=BLOCK) as file:
        for offset, length in spans:
            if offset + length > end:
                msg = "the slide is cut off: its file is shorter than its tile index says"
                raise DamagedSlideError(msg)
            file.seek(offset)
            yield file.read(length)
