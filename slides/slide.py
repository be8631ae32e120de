"""The open slide: one method to read pixels, whatever the file format."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import cv2
import numpy as np

from slides.errors import RegionError
from slides.geometry import Region, Size
from slides.units import Mpp

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from numpy.typing import NDArray

    from slides.info import SlideInfo

    Tiles = NDArray[np.uint8] | Sequence[NDArray[np.uint8]]
    """RGB tiles of one size: an array of all or views of some larger image."""

MAX_READ_PX = 1 << 29
"""Pixels that one read may return or touch (1.6 GB of RGB); larger reads are a mistake of the caller."""
STRIP_PX = 1 << 25
"""Pixels of a slide that a thumbnail holds in memory at once (100 MB of RGB)."""
SAME_SCALE = 1.005
"""A level up to 0.5 % coarser than asked for still serves: vendors round downsamples that much."""


@dataclass(frozen=True, slots=True)
class Source:
    """A resolution that a reader can deliver: a level, perhaps shrunk while it is decoded."""

    level: int
    shrink: int
    """Pixels of the level for one of the source: 1, or 2, 4, 8 inside a JPEG decoder."""
    downsample: float
    """Level-0 pixels for one pixel of the source."""
    method: str = "dct"
    """How the decoder shrinks: by its inverse cosine transform, or `dwt`, by its wavelet transform."""

    @property
    def decode(self) -> str:
        """How pixels come to be, for provenance: `full`, `dct-1/2` and so on, `dwt-1/2`."""
        return "full" if self.shrink == 1 else f"{self.method}-1/{self.shrink}"


class Slide(ABC):
    """An open slide. Thread-safe; never sent to another process, only its address is.

    A reader implements `_read_source` and `close`; clipping, scale and size are decided here, once, for all formats.
    """

    info: SlideInfo
    sources: tuple[Source, ...]
    reads_sparsely: bool = False
    """Whether regions far apart can be read together without paying for what lies between them."""

    @abstractmethod
    def _read_source(self, source: Source, x: int, y: int, size: Size) -> NDArray[np.uint8]:
        """Pixels of one source.

        Args:
            source: Which.
            x: Left edge in level-0 pixels.
            y: Top edge in level-0 pixels.
            size: How many pixels of that source.

        Returns:
            RGB, [size.height, size.width, 3]; white outside of the scanned area.
        """

    def _fill(
        self, source: Source, whole: Region, parts: Sequence[Region], tiles: Tiles
    ) -> None:
        """Put regions of a source into tiles; a reader may leave undecoded what no region touches.

        Args:
            source: Which.
            whole: What the parts span, in pixels of the source.
            parts: Where pixels are needed, in pixels of the source.
            tiles: Where they go, RGB [height, width, 3], all of one size; a part of another size is resampled.
        """
        corner = (round(whole.x * source.downsample), round(whole.y * source.downsample))
        resample_parts(self._read_source(source, *corner, Size(whole.width, whole.height)), whole, parts, tiles)

    @abstractmethod
    def close(self) -> None:
        """Release the file."""

    def read(self, region: Region, mpp: Mpp | float | None = None) -> NDArray[np.uint8]:
        """Pixels of a region at any scale.

        Args:
            region: Where, in level-0 pixels; may reach beyond the slide.
            mpp: Micrometres per pixel of the result, or None for level 0 as it is.

        Returns:
            RGB [H, W, 3]; sizes are the region's sides times mpp0 / mpp, rounded, at least 1.
        """
        scale = (1.0, 1.0) if mpp is None else Mpp.of(mpp).ratio(self.info.require_mpp())
        return self.read_to(
            region, Size(max(1, round(region.width / scale[0])), max(1, round(region.height / scale[1])))
        )

    def read_to(self, region: Region, wanted: Size) -> NDArray[np.uint8]:
        """Pixels of a region, resampled to exactly a size.

        Args:
            region: Where, in level-0 pixels; may reach beyond the slide.
            wanted: Size of the result in pixels.

        Returns:
            RGB [wanted.height, wanted.width, 3].
        """
        return self.read_tiles([region], wanted)[0]

    def read_tiles(
        self, regions: Sequence[Region], wanted: Size, out: Tiles | None = None
    ) -> Tiles:
        """Pixels of neighbouring regions of one size, each resampled to exactly a size, from one read.

        What comes back for a region does not depend on the other regions.

        Args:
            regions: Where, in level-0 pixels; what lies between them may be read too, so they should stand close.
            wanted: Size of each result in pixels.
            out: Where to put the results, [wanted.height, wanted.width, 3] each: an array of all of them or views of
                some larger one; None makes a new array.

        Returns:
            RGB [n, wanted.height, wanted.width, 3], or `out`.
        """
        source, whole = self._planned(regions, wanted)
        tiles: Tiles = np.empty((len(regions), wanted.height, wanted.width, 3), np.uint8) if out is None else out
        parts = [
            Region(
                round(region.x / source.downsample),
                round(region.y / source.downsample),
                max(1, round(region.width / source.downsample)),
                max(1, round(region.height / source.downsample)),
            )
            for region in regions
        ]
        self._fill(source, whole, parts, tiles)
        return tiles

    def _planned(self, regions: Sequence[Region], wanted: Size) -> tuple[Source, Region]:
        """Which source serves regions, and what they span in its pixels.

        Reads start on whole pixels of the source, so that a region's pixels do not depend on the regions beside it.

        Raises:
            RegionError: If the read would be absurdly large.
        """
        source = self.source_for(min(regions[0].width / wanted.width, regions[0].height / wanted.height))
        downsample = source.downsample
        left = math.floor(min(r.x for r in regions) / downsample)
        top = math.floor(min(r.y for r in regions) / downsample)
        right = math.ceil(max(r.right for r in regions) / downsample) + (downsample > 1)
        bottom = math.ceil(max(r.bottom for r in regions) / downsample) + (downsample > 1)
        whole = Region(left, top, right - left, bottom - top)
        if max(whole.width * whole.height, len(regions) * wanted.width * wanted.height) > MAX_READ_PX:
            msg = f"a read of {whole.width} x {whole.height} px is more than one read may return"
            raise RegionError(msg)
        return source, whole

    def thumbnail(self, max_side: int) -> NDArray[np.uint8]:
        """The whole slide, small.

        Args:
            max_side: The longer side of the result in pixels.

        Returns:
            RGB [h, w, 3], covering exactly the slide's extent.
        """
        size = self.info.size
        factor = max(1.0, max(size.width, size.height) / max_side)
        wanted = Size(max(1, round(size.width / factor)), max(1, round(size.height / factor)))
        return self.read_overview(Region.whole(size), wanted)

    def read_overview(self, region: Region, wanted: Size) -> NDArray[np.uint8]:
        """A large region, small; read in strips, so that of a slide without a pyramid little is ever in memory.

        Args:
            region: Where, in level-0 pixels; may reach beyond the slide.
            wanted: Size of the result in pixels.

        Returns:
            RGB [wanted.height, wanted.width, 3], covering exactly the region.
        """
        step = region.height / wanted.height
        source = self.source_for(min(region.width / wanted.width, step))
        rows = max(1, int(STRIP_PX * source.downsample**2 / (region.width * step)))
        strips = []
        for top in range(0, wanted.height, rows):
            end = min(top + rows, wanted.height)
            first, last = region.y + round(top * step), region.y + round(end * step)
            height, width = round((last - first) / source.downsample), round(region.width / source.downsample)
            part = self._read_source(source, region.x, first, Size(max(1, width), max(1, height)))
            strips.append(resample(part, Size(wanted.width, end - top)))
        return np.concatenate(strips)

    def source_for(self, downsample: float) -> Source:
        """The source to read from: the coarsest that is at least as fine as asked for, the least shrunk among equals.

        Args:
            downsample: Level-0 pixels for one pixel of the result.

        Returns:
            The source.
        """
        fine = [source for source in self.sources if source.downsample <= downsample * SAME_SCALE]
        coarsest = max((source.downsample for source in fine), default=0.0)
        equals = [source for source in fine if source.downsample * SAME_SCALE >= coarsest]
        return min(equals, key=lambda source: source.shrink, default=self.sources[0])

    def __enter__(self) -> Self:
        """Use the slide in a with statement."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()


def resample_parts(
    pixels: NDArray[np.uint8], whole: Region, parts: Sequence[Region], tiles: Tiles
) -> None:
    """Cut parts out of an image, each scaled to the size of its tile.

    Args:
        pixels: RGB [whole.height, whole.width, 3].
        whole: Where the image lies.
        parts: What to cut, in the same pixels.
        tiles: Where it goes, RGB [h, w, 3] each.
    """
    for tile, part in zip(tiles, parts, strict=True):
        x, y = part.x - whole.x, part.y - whole.y
        image = pixels[y : y + part.height, x : x + part.width]
        tile[:] = resample(image, Size(tile.shape[1], tile.shape[0]))


def resample(image: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Scale an image: area average when shrinking, linear when enlarging.

    Args:
        image: RGB [H, W, 3].
        size: The wanted size.

    Returns:
        RGB [size.height, size.width, 3].
    """
    if image.shape[:2] == (size.height, size.width):
        return image
    shrinks = image.shape[0] >= size.height and image.shape[1] >= size.width
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (size.width, size.height), interpolation=method), np.uint8)
