"""Tiled JPEG slides of the TIFF family (Aperio, generic pyramids), read tile by compressed tile.

OpenSlide spends most of its time putting decoded tiles together, and a general decoder spends most of the rest on
pixels that the next step averages away. Here every compressed tile is decoded once for all output tiles that touch it,
and at half, quarter or eighth size inside the JPEG decoder (scaled inverse DCT) where the wanted scale allows it.
"""

from __future__ import annotations

import mmap
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import simplejpeg
import tifffile

from slides.errors import DamagedSlideError
from slides.geometry import Region, Size
from slides.header import aperio_properties, resolution_properties, scale
from slides.identity import content_hash, nameless_tiff
from slides.info import Level, SlideInfo
from slides.slide import Slide, Source

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from slides.info import Address

SHRINKS = (1, 2, 4, 8)
"""What a JPEG decoder can divide by while it decodes."""
WHITE = 255
JPEG, RGB, YCBCR, CONTIGUOUS = 7, 2, 6, 1
ADOBE_RGB = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
"""APP14 marker "Adobe", transform 0: the three components are RGB, whatever their ids."""
SAME_ASPECT = 0.02


@dataclass(frozen=True, slots=True)
class TileIndex:
    """Where the compressed tiles of one level lie in the file."""

    size: Size
    tile: Size
    offsets: NDArray[np.int64]
    """[rows, columns]"""
    lengths: NDArray[np.int64]
    """[rows, columns]"""
    prefix: bytes
    """What to put before a tile's stream, after its start-of-image marker: shared tables, colour marker."""

    @classmethod
    def of(cls, page: tifffile.TiffPage) -> TileIndex:
        """Read the index of a page.

        Args:
            page: A tiled JPEG page that `_suits`.

        Returns:
            Its index.
        """
        rows, cols = -(-page.imagelength // page.tilelength), -(-page.imagewidth // page.tilewidth)
        shape = (rows, cols)
        tables = page.jpegtables or b"\xff\xd8\xff\xd9"
        return cls(
            Size(page.imagewidth, page.imagelength),
            Size(page.tilewidth, page.tilelength),
            np.array(page.dataoffsets, np.int64).reshape(shape),
            np.array(page.databytecounts, np.int64).reshape(shape),
            (ADOBE_RGB if page.photometric == RGB else b"") + tables[2:-2],
        )


class TiffJpegReader(Slide):
    """A slide whose levels are tiled JPEG pages.

    Args:
        address: Where it is.
        reason: Why this reader was chosen, for `oncoscope info`.

    Raises:
        DamagedSlideError: If the file is cut off.
    """

    reads_sparsely = True

    def __init__(self, address: Address, reason: str) -> None:
        path = address.path
        with nameless_tiff(path) as tiff:
            pages = _pyramid(tiff)
            properties = aperio_properties(pages[0].description) or resolution_properties(pages[0])
        self._indices = [TileIndex.of(page) for page in pages]
        self._require_whole(path)
        with path.open("rb") as file:
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        size = self._indices[0].size
        levels = tuple(Level(index.size, _downsample(size, index.size)) for index in self._indices)
        shrinks = SHRINKS if address.decode == "fast" else (1,)
        self.sources = tuple(
            Source(number, shrink, level.downsample * shrink)
            for number, level in enumerate(levels)
            for shrink in shrinks
            if not (self._indices[number].tile.width % shrink or self._indices[number].tile.height % shrink)
        )
        mpp, mpp_source, warnings = scale(address, properties)
        power = properties.get("openslide.objective-power")
        self.info = SlideInfo(
            size=size,
            mpp=mpp,
            mpp_source=mpp_source,
            format=properties["openslide.vendor"],
            reader="tiff-jpeg",
            reader_reason=reason,
            levels=levels,
            bounds=Region.whole(size),
            objective_power=float(power) if power else None,
            content_hash=content_hash(path, size, self._no_pixels),
            warnings=tuple(warnings),
            decode=address.decode,
        )

    @staticmethod
    def detect(path: Path) -> str | None:
        """Whether the file is a plain pyramid of tiled JPEG.

        Args:
            path: A file.

        Returns:
            The reason to take it, or None for anything that needs OpenSlide's knowledge of vendors.
        """
        if not path.is_file():
            return None
        with suppress(tifffile.TiffFileError, OSError, ValueError), nameless_tiff(path) as tiff:
            if _is_plain(tiff) and _pyramid(tiff):
                return "its levels are plain tiled JPEG, so compressed tiles are decoded directly"
        return None

    def close(self) -> None:
        """Release the file."""
        self._bytes.close()

    def _read_source(self, source: Source, x: int, y: int, size: Size) -> NDArray[np.uint8]:
        return self._compose(source, x, y, size, None)

    def _read_covering(
        self, source: Source, regions: Sequence[Region], corner: tuple[int, int], size: Size
    ) -> NDArray[np.uint8]:
        return self._compose(source, corner[0], corner[1], size, regions)

    def _compose(
        self, source: Source, x: int, y: int, size: Size, regions: Sequence[Region] | None
    ) -> NDArray[np.uint8]:
        """Pixels of a source from level-0 place (x, y); with `regions`, only tiles that touch one are decoded."""
        index = self._indices[source.level]
        width, height = index.tile.width // source.shrink, index.tile.height // source.shrink
        left, top = round(x / source.downsample), round(y / source.downsample)
        image = np.full((size.height, size.width, 3), WHITE, np.uint8)
        limit = (-(-index.size.height // source.shrink), -(-index.size.width // source.shrink))
        places = (
            [Region(left, top, size.width, size.height)] if regions is None else _scaled(regions, source.downsample)
        )
        for row, col in _touched(places, (height, width), index.offsets.shape):
            tile = self._decode(index, row, col, source.shrink)
            _paste(
                image, tile, (row * height - top, col * width - left), (limit[0] - row * height, limit[1] - col * width)
            )
        return image

    def _decode(self, index: TileIndex, row: int, col: int, shrink: int) -> NDArray[np.uint8]:
        """One compressed tile, RGB [tile height / shrink, tile width / shrink, 3].

        Raises:
            DamagedSlideError: If it cannot be decoded, naming its place.
        """
        start, length = int(index.offsets[row, col]), int(index.lengths[row, col])
        stream = self._bytes[start : start + length]
        shape = (index.tile.height // shrink, index.tile.width // shrink)
        try:
            tile: NDArray[np.uint8] = simplejpeg.decode_jpeg(
                b"\xff\xd8" + index.prefix + stream[2:],
                "RGB",
                min_height=shape[0],
                min_width=shape[1],
                min_factor=shrink,
            )
        except ValueError as error:
            tile = np.empty((0, 0, 3), np.uint8)
            cause: ValueError | None = error
        else:
            cause = None
        if tile.shape[:2] != shape:
            place = (col * index.tile.width * self._scale_of(index), row * index.tile.height * self._scale_of(index))
            msg = f"the tile at level-0 pixel ({round(place[0])}, {round(place[1])}) cannot be decoded"
            raise DamagedSlideError(msg) from cause
        return tile

    def _scale_of(self, index: TileIndex) -> float:
        """Level-0 pixels for one pixel of an index."""
        return self._indices[0].size.width / index.size.width

    def _require_whole(self, path: Path) -> None:
        """Refuse a file that is shorter than its index says.

        Raises:
            DamagedSlideError: If it is.
        """
        end = path.stat().st_size
        if any(int((index.offsets + index.lengths).max()) > end for index in self._indices):
            msg = "the slide is cut off: its file is shorter than its tile index says"
            raise DamagedSlideError(msg)

    def _no_pixels(self) -> NDArray[np.uint8]:
        """A TIFF always has an index; the hash never asks for pixels."""
        return np.empty(0, np.uint8)


def _is_plain(tiff: tifffile.TiffFile) -> bool:
    """Aperio or a pyramid of no vendor: formats without overlaps, offsets or private rules."""
    first = tiff.pages[0]
    special = ("ndpi", "scn", "bif", "philips", "ome", "qpi", "sis")
    return not any(getattr(tiff, f"is_{kind}", False) or getattr(first, f"is_{kind}", False) for kind in special)


def _pyramid(tiff: tifffile.TiffFile) -> list[tifffile.TiffPage]:
    """The pages that hold the slide, full size first; empty where the file does not suit this reader."""
    pages = [page for page in tiff.pages if isinstance(page, tifffile.TiffPage) and page.is_tiled]
    if not pages or pages[0] is not tiff.pages[0] or not all(_suits(page) for page in pages):
        return []
    base = pages[0]
    sizes = [(page.imagewidth, page.imagelength) for page in pages]
    falling = all(finer[0] > coarser[0] for finer, coarser in pairwise(sizes))
    alike = all(abs(base.imagewidth / w / (base.imagelength / h) - 1) < SAME_ASPECT for w, h in sizes)
    return pages if falling and alike else []


def _suits(page: tifffile.TiffPage) -> bool:
    """Whether a page is 8-bit colour in JPEG tiles, none of them missing."""
    colours = page.photometric in {RGB, YCBCR} and page.samplesperpixel == 3 and page.bitspersample == 8
    tiles = -(-page.imagelength // page.tilelength) * -(-page.imagewidth // page.tilewidth)
    whole = len(page.dataoffsets) == len(page.databytecounts) == tiles and min(page.databytecounts) > 0
    return page.compression == JPEG and colours and page.planarconfig == CONTIGUOUS and whole


def _downsample(full: Size, level: Size) -> float:
    """Level-0 pixels for one pixel of a level; the mean of both directions, as OpenSlide has it."""
    return (full.width / level.width + full.height / level.height) / 2


def _scaled(regions: Sequence[Region], downsample: float) -> list[Region]:
    """Regions in pixels of a source, a pixel wider all around so that no rounding leaves an edge undecoded."""
    scaled = []
    for region in regions:
        x, y = int(region.x / downsample) - 1, int(region.y / downsample) - 1
        right, bottom = int(region.right / downsample) + 2, int(region.bottom / downsample) + 2
        scaled.append(Region(x, y, right - x, bottom - y))
    return scaled


def _touched(places: Sequence[Region], tile: tuple[int, int], shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """Rows and columns of the tiles that touch any place."""
    wanted = np.zeros(shape, np.bool_)
    for place in places:
        top, left = max(0, place.y // tile[0]), max(0, place.x // tile[1])
        wanted[top : max(0, -(-place.bottom // tile[0])), left : max(0, -(-place.right // tile[1]))] = True
    return [(int(row), int(col)) for row, col in np.argwhere(wanted)]


def _paste(image: NDArray[np.uint8], tile: NDArray[np.uint8], at: tuple[int, int], limit: tuple[int, int]) -> None:
    """Copy a tile into an image at (row, column), clipped to both and to the level's edge."""
    y, x = at
    top, left = max(0, -y), max(0, -x)
    bottom = min(tile.shape[0], limit[0], image.shape[0] - y)
    right = min(tile.shape[1], limit[1], image.shape[1] - x)
    if bottom > top and right > left:
        image[y + top : y + bottom, x + left : x + right] = tile[top:bottom, left:right]
