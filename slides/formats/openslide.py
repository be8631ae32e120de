"""Every format that OpenSlide opens, read through its C buffer: no PIL, no second copy of the pixels.

A handle of OpenSlide that met a broken tile answers nothing any more. It is opened anew, so that a broken tile costs
its own region and no other; and as OpenSlide does not say where it stumbled, that is searched for.
"""

from __future__ import annotations

import ctypes
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import openslide
from openslide import lowlevel

from slides.color import over_white
from slides.errors import DamagedSlideError
from slides.geometry import Region, Size
from slides.header import number, scale
from slides.identity import content_hash, file_content, file_identity
from slides.info import Address, Level, SlideInfo
from slides.profile import ToSrgb, transform_of
from slides.slide import Slide, Source

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

NARROW = 256
"""Pixels a side of a level, near those of a tile: no closer is a broken place searched for."""
MOST_REOPENINGS = 16
"""In one search; each of them halves the sides, so that it ends long before."""


class OpenSlideReader(Slide):
    """A slide opened by OpenSlide.

    Args:
        address: Where it is.
        reason: Why this reader was chosen, for `oncoscope info`.

    """

    _colours: ToSrgb | None = None

    def __init__(self, address: Address, reason: str) -> None:
        self._path = path = address.path
        self._handle = _opened(path)
        try:
            self._properties = dict(self._handle.properties)
            self._downsamples = self._handle.level_downsamples
            profile = bytes(lowlevel.read_icc_profile(self._handle._osr) or b"")  # noqa: SLF001 - see below
            self._colours, icc, about = transform_of(address, profile)
            self.info = replace(self._describe(address, path, reason), icc=icc)
            self.info = replace(self.info, warnings=self.info.warnings + about)
            self.sources = tuple(Source(i, 1, level.downsample) for i, level in enumerate(self.info.levels))
        except BaseException:
            self._handle.close()
            raise

    @staticmethod
    def detect(address: Address) -> str | None:
        """Whether OpenSlide knows the file.

        Args:
            address: Of a file.

        Returns:
            The reason to take it, or None; DICOM has a reader that looks into the frames.
        """
        if address.is_remote:
            return None
        vendor = openslide.OpenSlide.detect_format(str(address.path))
        return (
            None
            if vendor in {None, "dicom"}
            else f"OpenSlide {openslide.__library_version__} knows the {vendor} format"
        )

    def close(self) -> None:
        """Release the file."""
        if not self._closed:  # OpenSlide's own does not bear a second call
            self._handle.close()
        super().close()

    def _read_source(self, source: Source, x: int, y: int, size: Size) -> NDArray[np.uint8]:
        return self._read_level(source.level, x, y, size)

    def _read_level(self, level: int, x: int, y: int, size: Size) -> NDArray[np.uint8]:
        try:
            buffer = _pixels(self._handle, level, x, y, size)
        except openslide.OpenSlideError:
            self._handle = self._reopened()  # other threads may still be in the old one, which goes with the last
            buffer = self._read_alone(level, x, y, size)
        return over_white(buffer, self._colours)

    def _read_alone(self, level: int, x: int, y: int, size: Size) -> NDArray[np.uint8]:
        """Read by a handle of its own, for the error may have been that of another thread's region.

        Raises:
            DamagedSlideError: If the region cannot be decoded, naming the place as closely as can be told.
        """
        try:
            return _pixels(self._reopened(), level, x, y, size)
        except openslide.OpenSlideError as error:
            broken = self._narrowed(level, x, y, size)
            msg = "the region at level-0 pixel ({}, {}) of {} x {} cannot be decoded".format(*broken)
            raise DamagedSlideError(msg) from error

    def _narrowed(self, level: int, x: int, y: int, size: Size) -> tuple[int, int, int, int]:
        """Left, top, width and height in level-0 pixels of a part that cannot be decoded, of one that cannot."""
        downsample, handle = self._downsamples[level], self._reopened()
        for _ in range(MOST_REOPENINGS):
            for part in _quarters(x, y, size, downsample) if max(size.width, size.height) > NARROW else ():
                try:
                    _pixels(handle, level, *part)
                except openslide.OpenSlideError:
                    (x, y, size), handle = part, self._reopened()
                    break
            else:  # it is small enough, or no quarter alone is broken
                break
        return x, y, round(size.width * downsample), round(size.height * downsample)

    def _reopened(self) -> openslide.OpenSlide:
        """A handle without errors.

        Raises:
            DamagedSlideError: If another slide is there by now.
        """
        handle = _opened(self._path)
        if dict(handle.properties) != self._properties:
            msg = "the slide changed while it was read"
            raise DamagedSlideError(msg)
        return handle

    def _describe(self, address: Address, path: Path, reason: str) -> SlideInfo:
        properties = self._properties
        size = Size(*self._handle.dimensions)
        mpp, source, warnings = scale(address, properties)
        levels = tuple(
            Level(Size(*dimensions), float(downsample))
            for dimensions, downsample in zip(self._handle.level_dimensions, self._downsamples, strict=True)
        )
        return SlideInfo(
            size=size,
            mpp=mpp,
            mpp_source=source,
            format=properties.get("openslide.vendor", "unknown"),
            reader="openslide",
            reader_reason=reason,
            levels=levels,
            bounds=_bounds(properties, size),
            objective_power=number(properties.get("openslide.objective-power")),
            content_hash=content_hash(
                file_identity(path), size, lambda: file_content(path, size, self._fallback_pixels)
            ),
            warnings=tuple(warnings),
        )

    def _fallback_pixels(self) -> NDArray[np.uint8]:
        """Pixels that stand for the slide where its compressed tiles cannot be found: the coarsest useful level."""
        level = min(range(self._handle.level_count), key=lambda i: abs(max(self._handle.level_dimensions[i]) - 4096))
        width, height = self._handle.level_dimensions[level]
        return self._read_level(level, 0, 0, Size(min(width, 8192), min(height, 8192)))


def _opened(path: Path) -> openslide.OpenSlide:
    """A new handle.

    Raises:
        DamagedSlideError: If OpenSlide knows the format but cannot read the file.
    """
    try:
        return openslide.OpenSlide(str(path))
    except openslide.OpenSlideError as error:
        msg = "the slide's index is damaged or its kind is not supported"
        raise DamagedSlideError(msg) from error


def _pixels(handle: openslide.OpenSlide, level: int, x: int, y: int, size: Size) -> NDArray[np.uint8]:
    """Premultiplied BGRA, [size.height, size.width, 4]."""
    buffer = np.empty((size.height, size.width, 4), np.uint8)
    pointer = buffer.ctypes.data_as(ctypes.POINTER(ctypes.c_uint32))
    lowlevel._read_region(handle._osr, pointer, x, y, level, size.width, size.height)  # noqa: SLF001 - the public call copies through PIL
    return buffer


def _quarters(x: int, y: int, size: Size, downsample: float) -> Iterator[tuple[int, int, Size]]:
    """Parts of a region of a level, cut only along sides that are not narrow yet; corners in level-0 pixels."""
    columns, rows = _halves(size.width), _halves(size.height)
    for top, height in rows:
        for left, width in columns:
            yield x + round(left * downsample), y + round(top * downsample), Size(width, height)


def _halves(length: int) -> tuple[tuple[int, int], ...]:
    """Start and length of the parts of a side."""
    half = length // 2
    return ((0, half), (half, length - half)) if length > NARROW else ((0, length),)


def _bounds(properties: Mapping[str, str], size: Size) -> Region:
    """The scanned part, the whole slide where the vendor does not say."""
    keys = ("x", "y", "width", "height")
    values = [number(properties.get(f"openslide.bounds-{key}")) for key in keys]
    if any(value is None for value in values):
        return Region.whole(size)
    x, y, width, height = (int(value or 0) for value in values)
    inside = Region(x, y, width, height).clipped(Region.whole(size)) if width > 0 and height > 0 else None
    return inside or Region.whole(size)
