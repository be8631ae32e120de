"""Tiled JPEG slides of the TIFF family (Aperio, generic pyramids), read tile by compressed tile.

Tiles are decoded at half, quarter or eighth size inside the JPEG decoder (scaled inverse DCT) where the wanted scale
allows it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from slides.header import aperio_properties, resolution_properties
from slides.tiff_pages import JPEG, PLAIN, falling, is_plain, suits, tiled_pages
from slides.tiff_slide import Pyramid, TiffSlide

if TYPE_CHECKING:
    import tifffile


class TiffJpegReader(TiffSlide):
    """A slide whose levels are tiled JPEG pages."""

    reader: ClassVar[str] = "tiff-jpeg"
    vendors = PLAIN
    reason: ClassVar[str] = "its levels are plain tiled JPEG, so compressed tiles are decoded directly"

    @staticmethod
    def pyramid(tiff: tifffile.TiffFile) -> Pyramid | None:
        """Find the levels of a plain pyramid of tiled JPEG.

        Args:
            tiff: An open file.

        Returns:
            All its tiled pages, or None for anything that needs a vendor's rules.
        """
        pages = tiled_pages(tiff)
        if not pages or not is_plain(tiff) or not all(suits(page, {JPEG}) for page in pages) or not falling(pages):
            return None
        return Pyramid(pages, aperio_properties(pages[0].description) or resolution_properties(pages[0]))
