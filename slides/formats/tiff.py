"""Pyramids of no vendor in tiles without loss: uncompressed, deflate, LZW, Zstandard and others of TIFF."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from slides.header import resolution_properties
from slides.tiff_pages import PACKED, PLAIN, UNCOMPRESSED, falling, is_plain, suits, tiled_pages
from slides.tiff_slide import Pyramid, TiffSlide

if TYPE_CHECKING:
    import tifffile


class TiffReader(TiffSlide):
    """A slide whose levels are tiled pages of 8-bit RGB."""

    reader: ClassVar[str] = "tiff"
    vendors = PLAIN
    reason: ClassVar[str] = "its levels are plain tiled RGB, so tiles are unpacked directly"

    @staticmethod
    def pyramid(tiff: tifffile.TiffFile) -> Pyramid | None:
        """Find the levels.

        Args:
            tiff: An open file.

        Returns:
            All its tiled pages, or None for anything that needs a vendor's rules.
        """
        pages = tiled_pages(tiff)
        if not pages or not is_plain(tiff) or pages[0].is_svs:
            return None
        if not all(suits(page, {UNCOMPRESSED, *PACKED}) for page in pages) or not falling(pages):
            return None
        return Pyramid(pages, resolution_properties(pages[0]))
