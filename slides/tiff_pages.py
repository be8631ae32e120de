"""Which pages of a TIFF are levels that can be read, and how their tiles are coded."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import tifffile

from slides import jpeg2000
from slides.codestream import Codec, Jpeg, Raw, Segment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

UNCOMPRESSED, JPEG, APERIO_YCBCR, APERIO_RGB = 1, 7, 33003, 33005
LZW, DEFLATE, OLD_DEFLATE, PACKBITS, JPEG2000, ZSTD, WEBP = 5, 8, 32946, 32773, 34712, 50000, 50001
PACKED = {LZW, DEFLATE, OLD_DEFLATE, PACKBITS, JPEG2000, ZSTD, WEBP}
"""What tifffile unpacks by imagecodecs."""
RGB, YCBCR, CONTIGUOUS = 2, 6, 1
PROFILE = 34675
TRESTLE = "MedScan"
"""What the Software tag of Trestle's slides begins with: their tiles overlap, and tifffile does not know them."""
PLAIN = frozenset({None, "aperio", "generic-tiff"})
"""OpenSlide's names for files without rules of their own; None where it does not know one."""
START_BYTES = 18
"""Bytes of a JPEG stream that hold its first marker and what it says of colours."""
MISNAMED = "the header calls the pixels RGB, the JPEG data is YCbCr; they were converted, which OpenSlide does not do"
SAME_ASPECT = 0.02


def codec_of(page: tifffile.TiffPage) -> Codec | None:
    """How to decode the tiles of a page.

    Args:
        page: A tiled page of an open file.

    Returns:
        A codec, or None for a page that is not 8-bit RGB or is compressed in a way that this build cannot read.
    """
    if page.compression == JPEG:
        return Jpeg.abbreviated(page.jpegtables, is_rgb=page.photometric == RGB)
    if page.compression in {APERIO_YCBCR, APERIO_RGB}:
        return jpeg2000.Jpeg2000(is_ycbcr=page.compression == APERIO_YCBCR) if _plain_jpeg2000(page) else None
    if page.photometric != RGB:
        return None
    if page.compression == UNCOMPRESSED and page.fillorder == 1 and page.predictor == 1:
        return Raw()
    return Segment(_unpacker(page)) if page.compression in PACKED else None


def misnamed(page: tifffile.TiffPage, stream: bytes) -> bool:
    """Whether a page says RGB over JPEG tiles that say YCbCr by their first marker; decoders believe the tiles.

    Args:
        page: A page of an open file.
        stream: The start of one of its tiles, `START_BYTES` bytes or more.

    Returns:
        True where it does.
    """
    says = stream[6:11] == b"JFIF\0" or (stream[6:11] == b"Adobe" and stream[17:18] == b"\x01")
    return page.compression == JPEG and page.photometric == RGB and says


def suits(page: tifffile.TiffPage, compressions: set[int] | None = None, *, sparse: bool = False) -> bool:
    """Whether a page is 8-bit colour in tiles that can be read.

    Args:
        page: A page of an open file.
        compressions: The TIFF compressions to accept, or None for all.
        sparse: Tiles of length 0 stand for glass; else no tile may be missing.

    Returns:
        True where it is.
    """
    if not page.is_tiled or (compressions is not None and int(page.compression) not in compressions):
        return False
    colours = page.photometric in {RGB, YCBCR} and page.samplesperpixel == 3 and page.bitspersample == 8
    tiles = -(-page.imagelength // page.tilelength) * -(-page.imagewidth // page.tilewidth)
    whole = len(page.dataoffsets) == len(page.databytecounts) == tiles and (sparse or min(page.databytecounts) > 0)
    flat = page.planarconfig == CONTIGUOUS and page.imagedepth == 1
    return colours and flat and whole and codec_of(page) is not None


def is_plain(tiff: tifffile.TiffFile) -> bool:
    """Whether a file is Aperio's or no vendor's: formats without overlaps, offsets or private rules.

    OpenSlide is asked for its opinion of local files too (`TiffSlide.vendors`); this is what can be told of any.

    Args:
        tiff: An open file.

    Returns:
        True where it is.
    """
    first = tiff.pages[0]
    special = ("ndpi", "scn", "bif", "philips", "ome", "qpi", "sis")
    overlaps = first.software.startswith(TRESTLE) if isinstance(first, tifffile.TiffPage) else False
    return not overlaps and not any(
        getattr(tiff, f"is_{kind}", False) or getattr(first, f"is_{kind}", False) for kind in special
    )


def tiled_pages(tiff: tifffile.TiffFile) -> list[tifffile.TiffPage]:
    """The tiled pages of a file.

    Args:
        tiff: An open file.

    Returns:
        All of them in their order, or none where the first page is not tiled.
    """
    pages = [page for page in tiff.pages if isinstance(page, tifffile.TiffPage) and page.is_tiled]
    return pages if pages and pages[0] is tiff.pages[0] else []


def falling(pages: Sequence[tifffile.TiffPage]) -> bool:
    """Whether pages are one image at ever coarser scale.

    Args:
        pages: Full size first.

    Returns:
        True where widths fall and the aspect stays.
    """
    base = pages[0]
    sizes = [(page.imagewidth, page.imagelength) for page in pages]
    alike = all(abs(base.imagewidth / w / (base.imagelength / h) - 1) < SAME_ASPECT for w, h in sizes)
    return alike and all(finer[0] > coarser[0] for finer, coarser in pairwise(sizes))


def colour_profile(page: tifffile.TiffPage) -> bytes | None:
    """The ICC profile of a page.

    Args:
        page: A page of an open file.

    Returns:
        The profile as it stands, or None.
    """
    profile = page.tags.valueof(PROFILE)
    return bytes(profile) if profile else None


def _plain_jpeg2000(page: tifffile.TiffPage) -> bool:
    """Whether the first tile of a page is a codestream that `Jpeg2000` decodes."""
    file = page.parent.filehandle
    file.seek(page.dataoffsets[0])
    return jpeg2000.is_plain(file.read(64))


def _unpacker(page: tifffile.TiffPage) -> Callable[[bytes], NDArray[np.uint8]]:
    """A function from compressed tile to pixels that lives on after the file is closed."""
    decode = page.decode

    def unpack(stream: bytes) -> NDArray[np.uint8]:
        return np.asarray(np.asarray(decode(stream, 0)[0])[0], np.uint8)

    return unpack
