"""Aperio slides in JPEG 2000 (TIFF compressions 33003 and 33005), read tile by compressed tile.

At full size the pixels equal OpenSlide's. Half size comes from the codestream without its finest wavelet band, centred:
twice as quick, 40 dB from the exact average and recorded as `dwt-1/2`; smaller resolutions are not used, and `exact`
uses none (decision 13).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from slides.header import aperio_properties
from slides.tiff_pages import APERIO_RGB, APERIO_YCBCR, falling, suits, tiled_pages
from slides.tiff_slide import Pyramid, TiffSlide

if TYPE_CHECKING:
    import tifffile


class TiffJpeg2000Reader(TiffSlide):
    """A slide whose levels are pages of JPEG 2000 tiles without subsampling."""

    reader: ClassVar[str] = "tiff-jpeg2000"
    reason: ClassVar[str] = "its levels are JPEG 2000 tiles of Aperio, so compressed tiles are decoded directly"

    @staticmethod
    def pyramid(tiff: tifffile.TiffFile) -> Pyramid | None:
        """Find the levels.

        Args:
            tiff: An open file.

        Returns:
            All its tiled pages, or None for anything else than Aperio's JPEG 2000.
        """
        pages = tiled_pages(tiff)
        if not pages or not all(suits(page, {APERIO_RGB, APERIO_YCBCR}) for page in pages) or not falling(pages):
            return None
        properties = aperio_properties(pages[0].description)
        return None if properties is None else Pyramid(pages, properties)
