"""The open slide: one method to read pixels, whatever the file format."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from slides.errors import RegionError, SlideError
from slides.geometry import Region, Size
from slides.resampling import resample, resample_parts
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
OFF_GRID = 0.5
"""Level-0 pixels by which a region may lie off the pixels of a source that is shrunk while it is decoded. Moving it by
more would cost more than the shrinking itself: half a pixel of the result takes the PSNR from 50 to 20 dB."""


@dataclass(frozen=True, slots=True)
class Source:
    """A resolution that a reader can deliver: a level, perhaps shrunk while it is decoded."""

    level: int
    shrink: int
    """Pixels of the level for one of the source: 1, or 2, 4, 8 inside a JPEG decoder."""
    downsample: float
    """Level-0 pixels for one pixel of the source."""
    method: str = "dct"
    """How the decoder shrinks: by its inverse cosine transform, or `dwt`, by its wavelet transform (not exactly)."""

    @property
    def decode(self) -> str:
        """How pixels come to be, for provenance: `full`, `dct-1/2` and so on, `dwt-1/2`."""
        return "full" if self.shrink == 1 else f"{self.method}-1/{self.shrink}"

    def holds(self, region: Region) -> bool:
        """Whether a region is made of whole pixels of the source, so that nothing has to move.

        Args:
            region: Where, in level-0 pixels.

        Returns:
            True where corner and sides are, to within half a level-0 pixel.
        """
        sides = (region.x, region.y, region.width, region.height)
        return all(abs(v - round(v / self.downsample) * self.downsample) <= OFF_GRID for v in sides)


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass over a source reads."""

    source: Source
    whole: Region
    """What the regions span, in pixels of the source."""
    numbers: tuple[int, ...]
    """Which of the regions it is for."""


class Slide(ABC):
    """An open slide. Thread-safe; never sent to another process, only its address is.

    A reader implements `_read_source` and `close`; clipping, scale and size are decided here, once, for all formats.
    """

    info: SlideInfo
    sources: tuple[Source, ...]
    reads_sparsely: bool = False
    """Whether regions far apart can be read together without paying for what lies between them."""
    _closed: bool = False

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

    def _fill(self, source: Source, whole: Region, parts: Sequence[Region], tiles: Tiles) -> None:
        """Put regions of a source into tiles; a reader may leave undecoded what no region touches.

        Args:
            source: Which.
            whole: What the parts span, in pixels of the source.
            parts: Where pixels are needed, in pixels of the source.
            tiles: Where they go, RGB [height, width, 3], all of one size; a part of another size is resampled.
        """
        corner = (round(whole.x * source.downsample), round(whole.y * source.downsample))
        resample_parts(self._read_source(source, *corner, Size(whole.width, whole.height)), whole, parts, tiles)

    def close(self) -> None:
        """Release the file; a reader adds what it holds. Whatever is asked of the slide's pixels then is an error."""
        self._closed = True

    def read(self, region: Region, mpp: Mpp | float | None = None) -> NDArray[np.uint8]:
        """Pixels of a region at any scale.

        They are averages of level 0, or of the coarsest stored level that is fine enough. A region that does not begin
        on a pixel of that level is moved to the nearest one, by half a pixel of the level at most, so that no pixel is
        interpolated (decision 8 has the figures); levels that a decoder shrinks are used only where nothing moves.

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

    def read_tiles(self, regions: Sequence[Region], wanted: Size, out: Tiles | None = None) -> Tiles:
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
        self._require_open()
        passes = self._planned(regions, wanted)
        tiles: Tiles = np.empty((len(regions), wanted.height, wanted.width, 3), np.uint8) if out is None else out
        for one in passes:
            downsample = one.source.downsample
            parts = [
                Region(
                    round(regions[i].x / downsample),
                    round(regions[i].y / downsample),
                    max(1, round(regions[i].width / downsample)),
                    max(1, round(regions[i].height / downsample)),
                )
                for i in one.numbers
            ]
            self._fill(one.source, one.whole, parts, [tiles[i] for i in one.numbers])
        return tiles

    def _planned(self, regions: Sequence[Region], wanted: Size) -> list[Pass]:
        """Which sources serve regions, and what they span in their pixels.

        Every region has the source that it would have alone, and reads start on whole pixels of a source, so that a
        region's pixels do not depend on the regions beside it.

        Raises:
            RegionError: If the read would be absurdly large.
        """
        groups: dict[Source, list[int]] = {}
        for number, region in enumerate(regions):
            scale = min(region.width / wanted.width, region.height / wanted.height)
            groups.setdefault(self.source_for(scale, region), []).append(number)
        passes = [
            Pass(source, _span([regions[i] for i in numbers], source.downsample), tuple(numbers))
            for source, numbers in groups.items()
        ]
        touched = [one.whole.width * one.whole.height for one in passes]
        if max([*touched, len(regions) * wanted.width * wanted.height]) > MAX_READ_PX:
            msg = f"a read of {max(touched):,} px is more than one read may touch or return"
            raise RegionError(msg)
        return passes

    def _require_open(self) -> None:
        """Refuse to read from a slide that was closed.

        Raises:
            SlideError: If it was.
        """
        if self._closed:
            msg = "the slide is closed"
            raise SlideError(msg)

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
        self._require_open()
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

    def source_for(self, downsample: float, region: Region | None = None) -> Source:
        """The source to read from: the coarsest that is at least as fine as asked for, the least shrunk among equals.

        Args:
            downsample: Level-0 pixels for one pixel of the result.
            region: What will be read, in level-0 pixels; a source that is shrunk while it is decoded then serves only
                where it `holds` the region. None stands for a region that every source holds, or may be moved.

        Returns:
            The source.
        """
        fine = [
            source
            for source in self.sources
            if source.downsample <= downsample * SAME_SCALE
            and (source.shrink == 1 or region is None or source.holds(region))
        ]
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


def _span(regions: Sequence[Region], downsample: float) -> Region:
    """What regions span, in pixels of a source."""
    left = math.floor(min(r.x for r in regions) / downsample)
    top = math.floor(min(r.y for r in regions) / downsample)
    right = math.ceil(max(r.right for r in regions) / downsample) + (downsample > 1)
    bottom = math.ceil(max(r.bottom for r in regions) / downsample) + (downsample > 1)
    return Region(left, top, right - left, bottom - top)
