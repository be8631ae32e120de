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
import pydicom
import tifffile

from slides.errors import DamagedSlideError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from slides.geometry import Size

BLOCK = 1 << 20
"""Bytes read from the file at once."""
REMEMBERED = 256
"""Slides whose hash a process remembers, so that opening one again does not read it again."""

_known: OrderedDict[tuple[str, int, int, int], str] = OrderedDict()


def content_hash(path: Path, size: Size, pixels: Callable[[], NDArray[np.uint8]]) -> str:
    """Hash the pixel data of a slide.

    Args:
        path: The slide's file.
        size: Size of level 0 in pixels.
        pixels: Gives decoded pixels that stand for the slide where its compressed tiles cannot be found.

    Returns:
        SHA-256 as 64 hex digits, over the size and the compressed level-0 tiles in their order (TIFF family), the
        pixel data elements (DICOM), or the decoded pixels of one coarse level (all other formats).

    A change of the file's size or time makes the process read it anew.
    """
    stat = path.stat()
    key = (str(path), stat.st_size, stat.st_mtime_ns, stat.st_ino)
    if key not in _known:
        _known[key] = _compute(path, size, pixels)
        while len(_known) > REMEMBERED:
            _known.popitem(last=False)
    return _known[key]


def _compute(path: Path, size: Size, pixels: Callable[[], NDArray[np.uint8]]) -> str:
    digest = hashlib.sha256(f"oncoscope-content-1 {size.width}x{size.height}".encode())
    spans = _tiff_spans(path, size)
    if spans is not None:
        _hash_spans(path, spans, digest)
    elif path.suffix.lower() == ".dcm":
        digest.update(_dicom_pixels_digest(path))
    else:
        digest.update(np.ascontiguousarray(pixels()).tobytes())
    return digest.hexdigest()


@contextmanager
def nameless_tiff(path: Path) -> Iterator[tifffile.TiffFile]:
    """Open a TIFF so that the library cannot write the file's name, which may be a patient's, into logs.

    Args:
        path: The file.

    Yields:
        The open file.
    """
    with path.open("rb") as file, tifffile.TiffFile(file, name="slide") as tiff:
        yield tiff


def _tiff_spans(path: Path, size: Size) -> list[tuple[int, int]] | None:
    """Offset and length of every level-0 tile, in the order of the tile index; None for a file that is no TIFF."""
    with suppress(tifffile.TiffFileError, OSError, ValueError), nameless_tiff(path) as tiff:
        for page in tiff.pages:
            if page.shape[:2] == (size.height, size.width) and len(page.dataoffsets) > 0:
                return list(zip(page.dataoffsets, page.databytecounts, strict=True))
    return None


def _hash_spans(path: Path, spans: Iterable[tuple[int, int]], digest: hashlib._Hash) -> None:
    """Feed tiles to the digest in index order.

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
            digest.update(file.read(length))


def _dicom_pixels_digest(path: Path) -> bytes:
    """Digest of the pixel data of all instances of the file's series, whatever their names and order."""
    series = pydicom.dcmread(path, stop_before_pixels=True).get("SeriesInstanceUID")
    digests = []
    for file in sorted(path.parent.glob("*.dcm")):
        data = pydicom.dcmread(file, specific_tags=["SeriesInstanceUID", "ImageType", "PixelData"])
        kind = list(data.get("ImageType", []))
        if data.get("SeriesInstanceUID") == series and not {"LABEL", "OVERVIEW"} & set(kind) and "PixelData" in data:
            digests.append(hashlib.sha256(data.PixelData).digest())
    return b"".join(sorted(digests))
