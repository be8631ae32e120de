"""What a TIFF may claim: sizes that slides have, and an index that fits them and the file. No decoder has run yet."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import numpy as np

from slides.guard_limits import MOST_PIECE_BYTES, MOST_TILES, require_image, require_safe, require_whole
from slides.jpeg_header import frame_size

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from slides.tiff_header import Directory, TiffHeader

WIDTH, LENGTH, BITS, COMPRESSION, DESCRIPTION, STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP = (
    256,
    257,
    258,
    259,
    270,
    273,
    277,
    278,
)
STRIP_COUNTS, PLANAR, TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_COUNTS = 279, 284, 322, 323, 324, 325
TABLES, XMP, DEPTH, PROFILE = 347, 700, 32997, 34675
JPEG: Final = 7
TILE_SIDES: Final = (16, 4096)
"""The standard's least, and twice the largest that a scanner is known to write."""
MOST_CHANNELS: Final = 64
MOST_BITS: Final = 64
MOST_STRIPPED_PX: Final = 1 << 26
"""Labels, thumbnails and macro images are decoded whole: 64 Mpx are 200 MB."""
MOST_TEXT: Final = 8 << 20
TEXTS: Final = {DESCRIPTION: MOST_TEXT, TABLES: 1 << 20, XMP: 64 << 20, PROFILE: 64 << 20}
"""Field -> bytes that a reader should have to copy at most."""
MOST_STITCHED: Final = 1 << 20
"""Tiles of one scanned area by its XML (Ventana); a reader allocates for each."""
MOST_AREAS: Final = 1000


def check_tiff(header: TiffHeader) -> None:
    """Refuse absurd claims.

    Args:
        header: The index of the file.
    """
    for directory in header.directories:
        _check_texts(header, directory)
        if WIDTH in directory and LENGTH in directory:
            _check_image(header, directory)


def _first(header: TiffHeader, directory: Directory, tag: int, default: int) -> int:
    """The first value of a field; the default where it is absent or holds no unsigned numbers."""
    found = _table(header, directory, tag)
    return int(found[0]) if len(found) else default


def _table(header: TiffHeader, directory: Directory, tag: int) -> NDArray[np.uint64]:
    """All values of a field."""
    entry = directory.get(tag)
    return np.empty(0, np.uint64) if entry is None else header.numbers(entry, MOST_TILES)


def _check_image(header: TiffHeader, directory: Directory) -> None:
    """Size, samples, and one compressed piece for each place of the grid."""
    width, height = (_first(header, directory, tag, 0) for tag in (WIDTH, LENGTH))
    samples, bits = _first(header, directory, SAMPLES, 1), _first(header, directory, BITS, 1)
    require_image(width, height)
    require_safe(
        "the slide claims more channels or bits than a pixel can have",
        holds=0 < samples <= MOST_CHANNELS and bits <= MOST_BITS,
    )
    planes = samples if _first(header, directory, PLANAR, 1) == 2 else 1
    tiled = TILE_WIDTH in directory or TILE_OFFSETS in directory
    piece = _tile(header, directory) if tiled else _strip(header, directory, width, height)
    require_safe(
        "the slide claims tiles that are too large to decode",
        holds=header.ndpi or piece[0] * piece[1] * (samples // planes) * bits // 8 <= MOST_PIECE_BYTES,
    )
    depth = max(1, _first(header, directory, DEPTH, 1)) if tiled else 1
    tags = (TILE_OFFSETS, TILE_COUNTS) if tiled else (STRIP_OFFSETS, STRIP_COUNTS)
    places = -(-width // piece[0]) * -(-height // piece[1]) * planes * depth
    first = _check_pieces(header, directory, tags, places)
    if tiled and _first(header, directory, COMPRESSION, 1) == JPEG:
        claimed = frame_size(header.stretch(*first))
        require_safe(
            "the slide's tiles claim to be larger than its index says",
            holds=claimed is None or (claimed[0] <= piece[0] and claimed[1] <= piece[1]),
        )


def _tile(header: TiffHeader, directory: Directory) -> tuple[int, int]:
    """Width and height of a tile."""
    width, height = (_first(header, directory, tag, 0) for tag in (TILE_WIDTH, TILE_LENGTH))
    plausible = TILE_SIDES[0] <= min(width, height) and max(width, height) <= TILE_SIDES[1]
    require_safe(f"the slide claims tiles of {width} x {height} px, which no scanner writes", holds=plausible)
    return width, height


def _strip(header: TiffHeader, directory: Directory, width: int, height: int) -> tuple[int, int]:
    """Width and height of a strip; Hamamatsu alone stores whole levels without tiles."""
    require_safe(
        "the slide claims an image without tiles that is larger than any label or macro image",
        holds=header.ndpi or width * height <= MOST_STRIPPED_PX,
    )
    return width, min(height, _first(header, directory, ROWS_PER_STRIP, height) or height)


def _check_pieces(header: TiffHeader, directory: Directory, tags: tuple[int, int], expected: int) -> tuple[int, int]:
    """The tables of compressed pieces fit the image, and the pieces lie in the file; where the first one does."""
    require_safe("the slide claims more tiles than a slide can have", holds=expected <= MOST_TILES)
    offsets, counts = (_table(header, directory, tag) for tag in tags)
    require_whole(
        "the slide's index is damaged: it has not one tile for each place",
        holds=len(offsets) == expected and len(counts) in {expected, 0},
    )
    if header.ndpi or not len(counts):  # Hamamatsu's 64-bit tables are stored in halves
        return 0, 0
    size = np.uint64(header.size)
    inside = (counts <= size) & (offsets <= size - np.minimum(counts, size))
    require_whole("the slide is cut off: its file is shorter than its tile index says", holds=bool(inside.all()))
    return int(offsets[0]), int(counts[0])


def _check_texts(header: TiffHeader, directory: Directory) -> None:
    """Free text and profiles lie in the file and are not too large to copy."""
    for tag, most in TEXTS.items():
        entry = directory.get(tag)
        if entry is not None:
            require_safe("the slide's description or colour profile is too large", holds=entry.length <= most)
            require_whole(
                "the slide is cut off: its index points beyond the end of the file",
                holds=entry.place + entry.length <= header.size,
            )
    if XMP in directory:
        _check_stitching(header.text(directory[XMP], TEXTS[XMP]))


def _check_stitching(xml: str) -> None:
    """Ventana states the tiles of each scanned area in XML; a reader allocates what it claims."""
    areas = re.findall(r"<ImageInfo\b[^>]{0,4096}", xml)
    plausible = len(areas) <= MOST_AREAS
    for area in areas:
        rows, cols = (_attribute(area, name) for name in ("NumRows", "NumCols"))
        plausible = plausible and rows >= 0 and cols >= 0 and rows * cols <= MOST_STITCHED
    require_safe("the slide claims more stitched tiles than a slide can have", holds=plausible)


def _attribute(element: str, name: str) -> int:
    """A whole number of an XML element, 0 where it is absent, very large where it has many digits."""
    match = re.search(rf"\b{name}\s*=\s*[\"']\s*([+-]?\d+)", element)
    return 0 if match is None else int(match[1]) if len(match[1]) <= 12 else MOST_STITCHED + 1
