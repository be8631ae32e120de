"""The open slide: one method to read pixels, whatever the file format."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
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

MAX_READ_PX = 1 << 29
"""Pixels that one read may return or touch (1.6 GB of RGB); larger reads are a mistake of the caller."""
STRIP_PX = 1 << 25
"""Pixels of a slide that a thumbnail holds in memory at once (100 MB of RGB)."""
SAME_SCALE = 1.005
"""A level up to 0.5 % coarser than asked for still serves: vendors round downsamples that much."""


class Slide(ABC):
    """An open slide. Thread-safe; never sent to another process, only its address is.

    A reader implements `_read_level` and `close`; clipping, scale and size are decided here, once, for all formats.
    """

    info: SlideInfo

    @abstractmethod
    def _read_level(self, level: int, x: int, y: int, size: Size) -> NDArray[np.uint8]:
        """Pixels of one level.

        Args:
            level: Which level.
            x: Left edge in level-0 pixels.
            y: Top edge in level-0 pixels.
            size: How many pixels of that level.

        Returns:
            RGB, [size.height, size.width, 3]; white outside of the scanned area.
        """

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
        return np.asarray(self.read_tiles([region], wanted)[0])

    def read_tiles(self, regions: Sequence[Region], wanted: Size) -> NDArray[np.uint8]:
        """Pixels of neighbouring regions of one size, each resampled to exactly a size, from one read.

        What comes back for a region does not depend on the other regions.

        Args:
            regions: Where, in level-0 pixels; what lies between them is read too, so they should stand close together.
            wanted: Size of each result in pixels.

        Returns:
            RGB [n, wanted.height, wanted.width, 3].

        Raises:
            RegionError: If the read would be absurdly large.
        """
        level = self._best_level(min(regions[0].width / wanted.width, regions[0].height / wanted.height))
        downsample = self.info.levels[level].downsample
        left, top = min(r.x for r in regions), min(r.y for r in regions)
        right, bottom = max(r.right for r in regions), max(r.bottom for r in regions)
        native = Size(max(1, math.ceil((right - left) / downsample)), max(1, math.ceil((bottom - top) / downsample)))
        if max(native.width * native.height, len(regions) * wanted.width * wanted.height) > MAX_READ_PX:
            msg = f"a read of {native.width} x {native.height} px is more than one read may return"
            raise RegionError(msg)
        pixels = self._read_level(level, left, top, native)
        tiles = np.empty((len(regions), wanted.height, wanted.width, 3), np.uint8)
        for tile, region in zip(tiles, regions, strict=True):
            x, y = round((region.x - left) / downsample), round((region.y - top) / downsample)
            width, height = max(1, round(region.width / downsample)), max(1, round(region.height / downsample))
            tile[:] = resample(pixels[y : y + height, x : x + width], wanted)
        return tiles

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
        level = self._best_level(factor)
        rows = max(1, STRIP_PX // self.info.levels[level].size.width)
        scale = self.info.levels[level].size.height / wanted.height
        step = max(1, int(rows / scale))
        strips = [
            self._thumbnail_strip(level, top, min(step, wanted.height - top), wanted)
            for top in range(0, wanted.height, step)
        ]
        return np.concatenate(strips)

    def _thumbnail_strip(self, level: int, top: int, rows: int, wanted: Size) -> NDArray[np.uint8]:
        """Rows `top` to `top + rows` of a thumbnail: only so much of a slide without a pyramid is ever in memory."""
        source = self.info.levels[level]
        first = round(top * source.size.height / wanted.height)
        last = max(first + 1, round((top + rows) * source.size.height / wanted.height))
        part = self._read_level(level, 0, round(first * source.downsample), Size(source.size.width, last - first))
        return resample(part, Size(wanted.width, rows))

    def _best_level(self, downsample: float) -> int:
        """The coarsest level that is still at least as fine as asked for."""
        fine = [i for i, level in enumerate(self.info.levels) if level.downsample <= downsample * SAME_SCALE]
        return max(fine, key=lambda i: self.info.levels[i].downsample, default=0)

    def __enter__(self) -> Self:
        """Use the slide in a with statement."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()


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
