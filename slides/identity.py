"""The content hash: which pixels a slide holds, blind to label, macro image and header text.

A copy from which the patient's data were removed has the same hash as the original, and the hash tells nothing of the
patient. Two slides with one hash show the same pixels: what decides how bytes become pixels (tile size, grid, codec,
shared tables) is hashed with them, and the length of every part before the part, so that nothing can move from one
tile into the next or from one place to another.

A remote slide is not read in full for its identity. Its hash is over what the store says of it (size, entity tag, time
of its last change), the tile index, and a sample of its tiles: it is stable as long as the object is not written
again, and differs from the hash of the same slide as a local file.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import OrderedDict
from contextlib import contextmanager, suppress
from itertools import chain
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
LABEL = "oncoscope-content-2"
"""What the hash begins with; 1 left out how tiles are coded and where each ends."""
ABSENT = (1 << 64) - 1
"""Stands for the length of a part that is left out."""
MOST_SAMPLED = 64
"""Tiles of a remote slide that are looked at, spread evenly, the first and the last among them."""
SAMPLED_SHARE = 64
"""One tile in so many, for slides with few: opening reads no more than a few percent."""
CODING_TAGS = (258, 259, 262, 266, 277, 278, 284, 317, 322, 323, 338, 347, 530)
"""Bits, compression, photometric, fill order, samples, rows per strip, planes, predictor, tile width and length, extra
samples, shared JPEG tables, subsampling: the tags of a TIFF page that decide how its bytes become pixels."""
REMEMBERED = 256
"""Slides whose hash a process remembers, so that opening one again does not read it again."""

_known: OrderedDict[tuple[str, ...], str] = OrderedDict()


def content_hash(
    identity: tuple[str, ...], size: Size, content: Callable[[], Iterable[bytes | None]], coding: str = ""
) -> str:
    """Hash the pixel data of a slide.

    Args:
        identity: Where the slide lies and what changes when it does, such as size and time: the process remembers
            the hash under it and reads a slide anew when it changes.
        size: Size of level 0 in pixels.
        content: Gives what stands for the pixels: the compressed level-0 tiles in their order (TIFF family, DICOM,
            Zarr), or the decoded pixels of one coarse level (all other formats); None for a tile that is left out.
        coding: How the content becomes pixels: tile size, grid, codec.

    Returns:
        SHA-256 as 64 hex digits, over size, coding and content.
    """
    known = _known.get(identity)
    if known is None:
        digest = hashlib.sha256(f"{LABEL} {size.width}x{size.height}".encode())
        for part in chain([coding.encode()], content()):
            digest.update((ABSENT if part is None else len(part)).to_bytes(8, "little"))
            digest.update(part or b"")
        known = _known[identity] = digest.hexdigest()
        while len(_known) > REMEMBERED:
            _known.popitem(last=False)
    return known


def coding_of(codec: object) -> str:
    """What of a codec decides how bytes become pixels.

    Args:
        codec: A decoder of tiles.

    Returns:
        Its class and its settings; functions are left out.
    """
    settings = [(field.name, getattr(codec, field.name)) for field in _fields(codec)]
    return f"{type(codec).__name__} {[(name, value) for name, value in settings if not callable(value)]}"


def _fields(codec: object) -> tuple[dataclasses.Field[object], ...]:
    """The settings of a codec that is a dataclass."""
    return dataclasses.fields(codec) if dataclasses.is_dataclass(codec) else ()


def sample(count: int) -> list[int]:
    """Which of many tiles stand for all, where reading all would cost too much.

    Args:
        count: How many there are.

    Returns:
        Numbers from 0 to `count` - 1, ascending and spread, the first and the last among them.
    """
    most = min(count, MOST_SAMPLED, max(2, count // SAMPLED_SHARE))
    return [int(number) for number in np.unique(np.linspace(0, count - 1, most).round())]


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
        How the tiles of a TIFF are coded and its compressed level-0 tiles, or the decoded pixels.
    """
    found = _tiff_spans(path, size)
    if found is not None:
        yield found[0].encode()
        yield from _tiles(path, found[1])
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


def _tiff_spans(path: Path, size: Size) -> tuple[str, list[tuple[int, int]]] | None:
    """How level-0 tiles are coded, offset and length of each in the order of the index; None for what is no TIFF."""
    with suppress(tifffile.TiffFileError, OSError, ValueError), nameless_tiff(path) as tiff:
        for page in (frame.aspage() for frame in tiff.pages):
            if page.shape[:2] == (size.height, size.width) and len(page.dataoffsets) > 0:
                coding = [page.tags.valueof(code) for code in CODING_TAGS]
                return repr(coding), list(zip(page.dataoffsets, page.databytecounts, strict=True))
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
