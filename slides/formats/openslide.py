"""Every format that OpenSlide opens, read through its C buffer: no PIL, no second copy of the pixels."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import openslide
from openslide import lowlevel

from slides.color import over_white
from slides.dicom_photometric import jpeg_is_ycbcr_called_rgb
from slides.errors import DamagedSlideError
from slides.geometry import Region, Size
from slides.header import number, scale
from slides.identity import content_hash
from slides.info import Address, Level, SlideInfo
from slides.slide import Slide, Source

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


class OpenSlideReader(Slide):
    """A slide opened by OpenSlide.

    Args:
        address: Where it is.
        reason: Why this reader was chosen, for `oncoscope info`.

    Raises:
        DamagedSlideError: If OpenSlide knows the format but cannot read the file.
    """

    def __init__(self, address: Address, reason: str) -> None:
        path = entry_file(address.path)
        try:
            self._handle = openslide.OpenSlide(str(path))
        except openslide.OpenSlideError as error:
            msg = "the slide's index is damaged or its kind is not supported"
            raise DamagedSlideError(msg) from error
        try:
            self._as_ycbcr = self._handle.properties.get("openslide.vendor") == "dicom" and jpeg_is_ycbcr_called_rgb(
                path
            )
            self.info = self._describe(address, path, reason)
            self.sources = tuple(Source(i, 1, level.downsample) for i, level in enumerate(self.info.levels))
        except BaseException:
            self._handle.close()
            raise

    @staticmethod
    def detect(path: Path) -> str | None:
        """Whether OpenSlide knows the file.

        Args:
            path: A file or a folder of DICOM instances.

        Returns:
            The reason to take it, or None.
        """
        vendor = openslide.OpenSlide.detect_format(str(entry_file(path)))
        return None if vendor is None else f"OpenSlide {openslide.__library_version__} knows the {vendor} format"

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
        return over_white(buffer, as_ycbcr=self._as_ycbcr)

    def _describe(self, address: Address, path: Path, reason: str) -> SlideInfo:
        properties = self._handle.properties
        size = Size(*self._handle.dimensions)
        mpp, source, warnings = scale(address, properties)
        if self._as_ycbcr:
            warnings.append("the DICOM header calls the pixels RGB, the JPEG data is YCbCr; they were converted")
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
            content_hash=content_hash(path, size, self._fallback_pixels),
            warnings=tuple(warnings),
        )

    def _fallback_pixels(self) -> NDArray[np.uint8]:
        """Pixels that stand for the slide where its compressed tiles cannot be found: the coarsest useful level."""
        level = min(range(self._handle.level_count), key=lambda i: abs(max(self._handle.level_dimensions[i]) - 4096))
        width, height = self._handle.level_dimensions[level]
        return self._read_level(level, 0, 0, Size(min(width, 8192), min(height, 8192)))


def entry_file(path: Path) -> Path:
    """The file to hand to OpenSlide: any instance of a DICOM folder leads it to the others.

    Args:
        path: A file or folder.

    Returns:
        The file itself, the first DICOM file of a folder, or the folder where there is none.
    """
    if not path.is_dir():
        return path
    return next((file for file in sorted(path.glob("*.dcm")) if openslide.OpenSlide.detect_format(str(file))), path)


def _bounds(properties: Mapping[str, str], size: Size) -> Region:
    """The scanned part, the whole slide where the vendor does not say."""
    keys = ("x", "y", "width", "height")
    values = [number(properties.get(f"openslide.bounds-{key}")) for key in keys]
    if any(value is None for value in values):
        return Region.whole(size)
    x, y, width, height = (int(value or 0) for value in values)
    inside = Region(x, y, width, height).clipped(Region.whole(size)) if width > 0 and height > 0 else None
    return inside or Region.whole(size)
