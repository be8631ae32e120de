"""Decode one compressed tile: the one place where bytes of a slide become pixels outside of OpenSlide.

Every codec gives RGB of exactly the tile's size or raises: a stream that ends early is an error and never a tile with a
grey or white rest.
"""

from __future__ import annotations

import lzma
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

import cv2
import numpy as np
import simplejpeg

from slides.jpeg_header import require_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from slides.geometry import Size

BROKEN = (
    *(ValueError, RuntimeError, TypeError, LookupError, OverflowError, MemoryError, EOFError),
    *(cv2.error, zlib.error, lzma.LZMAError, struct.error),
)
"""What decoders raise for a stream that they cannot decode."""
ADOBE_RGB = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
"""APP14 marker "Adobe", transform 0: the three components are RGB, whatever their ids."""
START_OF_IMAGE, END_OF_IMAGE = b"\xff\xd8", b"\xff\xd9"


class Codec(Protocol):
    """A way to decode a tile."""

    shrinks: ClassVar[tuple[int, ...]]
    """What it can divide a tile's sides by while it decodes."""
    method: ClassVar[str]
    """How it does that, for provenance."""

    def decode(self, stream: bytes, tile: Size, shrink: int) -> NDArray[np.uint8]:
        """Decode a tile.

        Args:
            stream: Its bytes.
            tile: Its full size in pixels.
            shrink: One of `shrinks` that divides both sides.

        Returns:
            RGB [tile.height / shrink, tile.width / shrink, 3].
        """


@dataclass(frozen=True, slots=True)
class Jpeg:
    """Baseline JPEG; smaller sizes come out of the inverse DCT, placed where an area average would place them."""

    prefix: bytes = b""
    """What stands between a tile's start-of-image marker and its stream: shared tables, colour marker."""
    shrinks: ClassVar[tuple[int, ...]] = (1, 2, 4, 8)
    method: ClassVar[str] = "dct"

    @classmethod
    def abbreviated(cls, tables: bytes | None, *, is_rgb: bool) -> Jpeg:
        """The codec of TIFF tiles, whose tables stand once in the directory.

        Args:
            tables: The JPEGTables tag, or None where every tile has its own.
            is_rgb: The directory says RGB, which the streams themselves do not.

        Returns:
            The codec.
        """
        return cls((ADOBE_RGB if is_rgb else b"") + (tables or START_OF_IMAGE + END_OF_IMAGE)[2:-2])

    def decode(self, stream: bytes, tile: Size, shrink: int) -> NDArray[np.uint8]:
        """Decode a tile.

        Args:
            stream: Its bytes, abbreviated or whole.
            tile: Its full size in pixels.
            shrink: 1, 2, 4 or 8.

        Returns:
            RGB [tile.height / shrink, tile.width / shrink, 3].
        """
        shape = (tile.height // shrink, tile.width // shrink)
        whole = START_OF_IMAGE + self.prefix + stream[2:] if self.prefix else stream
        require_size(whole, tile)
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
            whole, "RGB", min_height=shape[0], min_width=shape[1], min_factor=shrink
        )
        return of_shape(pixels, shape)


@dataclass(frozen=True, slots=True)
class Raw:
    """Pixels as they are."""

    planes_apart: bool = False
    """All of red comes first, then green, then blue."""
    is_ycbcr: bool = False
    shrinks: ClassVar[tuple[int, ...]] = (1,)
    method: ClassVar[str] = "full"

    def decode(self, stream: bytes, tile: Size, shrink: int) -> NDArray[np.uint8]:
        """Decode a tile.

        Args:
            stream: Its bytes.
            tile: Its full size in pixels.
            shrink: 1.

        Returns:
            RGB [tile.height, tile.width, 3].
        """
        del shrink
        values = np.frombuffer(stream, np.uint8)
        if self.planes_apart:
            pixels = np.ascontiguousarray(values.reshape(3, tile.height, tile.width).transpose(1, 2, 0))
        else:
            pixels = values.reshape(tile.height, tile.width, 3)
        return from_ycbcr(pixels) if self.is_ycbcr else pixels


@dataclass(frozen=True, slots=True)
class Segment:
    """Any other compression of TIFF, through the function that tifffile makes for a directory."""

    unpack: Callable[[bytes], NDArray[np.uint8]]
    """Gives [tile height, tile width, 3]."""
    shrinks: ClassVar[tuple[int, ...]] = (1,)
    method: ClassVar[str] = "full"

    def decode(self, stream: bytes, tile: Size, shrink: int) -> NDArray[np.uint8]:
        """Decode a tile.

        Args:
            stream: Its bytes.
            tile: Its full size in pixels.
            shrink: 1.

        Returns:
            RGB [tile.height, tile.width, 3].
        """
        del shrink
        return of_shape(self.unpack(stream), (tile.height, tile.width))


def from_ycbcr(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Full-range YCbCr (ITU-R BT.601, as in JPEG) to RGB.

    Args:
        pixels: [H, W, 3] in the order Y, Cb, Cr.

    Returns:
        RGB [H, W, 3].
    """
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels[:, :, [0, 2, 1]]), cv2.COLOR_YCrCb2RGB), np.uint8)


def of_shape(pixels: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Refuse anything but RGB bytes of a size.

    Args:
        pixels: What a decoder gave.
        shape: Height and width by the slide's index.

    Returns:
        `pixels`.

    Raises:
        ValueError: If the stream held another image than the index says.
    """
    if pixels.shape != (*shape, 3) or pixels.dtype != np.uint8:
        msg = "the stream does not hold a tile of the size that the index gives"
        raise ValueError(msg)
    return pixels
