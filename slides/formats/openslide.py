"""Every format that OpenSlide opens, read through its C buffer: no PIL, no second copy of the pixels."""

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
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray


class OpenSlideReader(Slide):
    """A slide opened by OpenSlide.

    Args:
        address: Where it is.
        reason: Why this reader was chosen, for `oncoscope info`.

    Raises:
        DamagedSlideError: If OpenSlide knows the format but cannot read the file.
    """

    _colours: ToSrgb | None = None

    def __init__(self, address: Address, reason: str) -> None:
        path = address.path
        try:
            self._handle = openslide.OpenSlide(str(path))
        except openslide.OpenSlideError as error:
            msg = "the slide's index is damaged or its kind is not supported"
            raise DamagedSlideError(msg) from error
        try:
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
        self._handle.close()

    def _read_source(self, source: Source, x: int, y: int, size: Size) -> NDArray[np.uint8]:
        return self._read_level(source.level, x, y, size)

    def _read_level(self, level: int, x: int, y: int, size: Size) -> NDArray[np.uint8]:
        buffer = np.empty((size.height, size.width, 4), np.uint8)
        pointer = buffer.ctypes.data_as(ctypes.POINTER(ctypes.c_uint32))
        try:
            lowlevel._read_region(self._handle._osr, pointer, x, y, level, size.width, size.height)  # noqa: SLF001 - the public call copies through PIL
        except openslide.OpenSlideError as error:
            msg = f"the region at level-0 pixel ({x}, {y}) cannot be decoded"
            raise DamagedSlideError(msg) from error
        return over_white(buffer, self._colours)

    def _describe(self, address: Address, path: Path, reason: str) -> SlideInfo:
        properties = self._handle.properties
        size = Size(*self._handle.dimensions)
        mpp, source, warnings = scale(address, properties)
        levels = tuple(
            Level(Size(*dimensions), float(downsample))
            for dimensions, downsample in zip(
                self._handle.level_dimensions, self._handle.level_downsamples, strict=True
            )
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


def _bounds(properties: Mapping[str, str], size: Size) -> Region:
    """The scanned part, the whole slide where the vendor does not say."""
    keys = ("x", "y", "width", "height")
    values = [number(properties.get(f"openslide.bounds-{key}")) for key in keys]
    if any(value is None for value in values):
        return Region.whole(size)
    x, y, width, height = (int(value or 0) for value in values)
    inside = Region(x, y, width, height).clipped(Region.whole(size)) if width > 0 and height > 0 else None
    return inside or Region.whole(size)
