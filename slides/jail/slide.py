"""A slide that is decoded in a process of its own; to the rest of the program it is a slide like any other."""

from __future__ import annotations

import threading
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from slides.errors import RegionError, SlideError, SlideNotFoundError, UnsafeSlideError
from slides.jail import keeper
from slides.jail.launcher import EXHAUSTED, unavailable
from slides.slide import MAX_READ_PX, Slide

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from slides.geometry import Region, Size
    from slides.info import Address
    from slides.jail.cell import Cell
    from slides.slide import Source, Tiles


class JailedSlide(Slide):
    """A slide whose bytes no decoder of this process sees.

    After a crash the next read starts another child, until the slide is quarantined.

    Args:
        address: The slide; its `jail` has the limits.

    Raises:
        UnsafeSlideError: If it is not a file of this machine: a jail has no network.
        SlideNotFoundError: If nothing stands there.
        SlideError: If the machine has no room for a jail.
    """

    def __init__(self, address: Address) -> None:
        if address.is_remote:
            msg = "a slide at a remote address cannot be read in isolation; copy it to this machine"
            raise UnsafeSlideError(msg)
        self._address = address
        try:
            self._place, self._cell = keeper.enter(address)
        except OSError as error:
            if error.errno in EXHAUSTED:
                raise SlideError(unavailable(error)) from error
            msg = "there is no file or folder that can be read at the slide's address"
            raise SlideNotFoundError(msg) from error
        self._open = True
        self._lock = threading.Lock()
        opened = self._cell.opened
        self.info, self.sources, self.reads_sparsely = opened.info, opened.sources, opened.reads_sparsely

    @property
    def layers(self) -> dict[str, int]:
        """What the child gave up: `landlock` (version, 0 for none), `seccomp` (1 or 0)."""
        return self._cell.opened.layers

    def read_tiles(self, regions: Sequence[Region], wanted: Size, out: Tiles | None = None) -> Tiles:
        """Pixels of neighbouring regions of one size, each resampled to exactly a size, from one read.

        Args:
            regions: Where, in level-0 pixels.
            wanted: Size of each result in pixels.
            out: Where to put the results; None gives memory that is shared with the child and the caller's own now.

        Returns:
            RGB [n, wanted.height, wanted.width, 3], or `out`.
        """
        self._require_open()
        spans = [one.whole.width * one.whole.height for one in self._planned(regions, wanted)]
        if not spans:
            return np.empty((0, wanted.height, wanted.width, 3), np.uint8) if out is None else out
        request = {"do": "tiles", "regions": [_corners(each) for each in regions], "wanted": _sides(wanted)}
        shape = (len(regions), wanted.height, wanted.width, 3)
        tiles = self._running().read(request, shape, max(spans))
        if out is None:
            return tiles
        for target, tile in zip(out, tiles, strict=True):
            target[:] = tile
        return out

    def read_overview(self, region: Region, wanted: Size) -> NDArray[np.uint8]:
        """A large region, small.

        Args:
            region: Where, in level-0 pixels; may reach beyond the slide.
            wanted: Size of the result in pixels.

        Returns:
            RGB [wanted.height, wanted.width, 3], covering exactly the region.

        Raises:
            RegionError: If the result would be absurdly large.
        """
        self._require_open()
        if wanted.width * wanted.height > MAX_READ_PX:
            msg = f"a read of {wanted.width} x {wanted.height} px is more than one read may return"
            raise RegionError(msg)
        source = self.source_for(min(region.width / wanted.width, region.height / wanted.height))
        request = {"do": "overview", "region": _corners(region), "wanted": _sides(wanted)}
        native_px = region.width * region.height / source.downsample**2
        return self._running().read(request, (wanted.height, wanted.width, 3), native_px)

    def close(self) -> None:
        """Let the child go."""
        super().close()
        with self._lock:
            if self._open:
                self._open = False
                keeper.leave(self._place)

    def _read_source(self, source: Source, x: int, y: int, size: Size) -> NDArray[np.uint8]:
        request = {
            "do": "source",
            "source": asdict(source),
            "x": int(x),
            "y": int(y),
            "size": [size.width, size.height],
        }
        return self._running().read(request, (size.height, size.width, 3), size.width * size.height)

    def _running(self) -> Cell:
        """The cell, a new one where it died.

        Raises:
            UnsafeSlideError: If another slide is there by now.
        """
        with self._lock:
            if not self._cell.usable and self._open:
                place, cell = keeper.enter(self._address)
                if cell.opened.info != self.info:
                    keeper.leave(place)
                    msg = "the slide changed while it was read"
                    raise UnsafeSlideError(msg)
                keeper.leave(self._place)
                self._place, self._cell = place, cell
            return self._cell


def _corners(region: Region) -> list[int]:
    """A region as JSON; callers may compute with numbers of numpy."""
    return [int(region.x), int(region.y), int(region.width), int(region.height)]


def _sides(size: Size) -> list[int]:
    """A size as JSON."""
    return [int(size.width), int(size.height)]
