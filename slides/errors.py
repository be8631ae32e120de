"""Errors of the slide layer.

::

    SlideError
    ├── SlideNotFoundError    nothing readable stands at the address
    ├── NotASlideError        no reader knows the file
    ├── DamagedSlideError     a slide, but broken: truncated, unreadable tiles
    │   ├── SlideCrashedError     its decoder crashed, or took too much memory or time
    │   └── BrokenTileError       one tile, by row and column; on its way to become an error that names the place
    ├── UnsafeSlideError      it claims more than a slide can hold, or points at files of others
    ├── QuarantinedSlideError its decoders crashed too often; it is not opened any more
    ├── MissingMppError       no scale in the header and none given
    ├── BadMppError           a scale that no microscope has
    └── RegionError           a region or scale that cannot be read

No message names a file or quotes a header: both may hold patient data.
"""

from __future__ import annotations


class SlideError(Exception):
    """Base of every error of the slide layer."""


class SlideNotFoundError(SlideError):
    """Nothing readable stands at the address."""


class NotASlideError(SlideError):
    """No reader knows the file."""


class DamagedSlideError(SlideError):
    """The slide is truncated or a part of it cannot be decoded."""


class BrokenTileError(DamagedSlideError):
    """One tile of a level cannot be decoded.

    Args:
        place: Its row and column.
    """

    def __init__(self, place: tuple[int, int] = (0, 0)) -> None:
        super().__init__("a tile cannot be decoded")
        self.place = place


class SlideCrashedError(DamagedSlideError):
    """The process that decodes the slide crashed, or was ended because it took too much memory or time."""


class UnsafeSlideError(SlideError):
    """The slide was refused before decoding: it claims absurd sizes, or names files that are not its own."""


class QuarantinedSlideError(SlideError):
    """The processes that decoded this slide crashed too often; it is not opened any more."""


class MissingMppError(SlideError):
    """The slide states no scale and the caller gave none."""


class BadMppError(SlideError):
    """A scale that is not a positive, plausible number of micrometres per pixel."""


class RegionError(SlideError):
    """A region or scale that cannot be read, such as an empty one."""
