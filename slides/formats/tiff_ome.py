"""OME-TIFF: 8-bit RGB in tiles of any compression, its coarser levels in SubIFDs, its scale in the XML.

Only pixels of this very file are read: a description that points to other files is not followed.
"""

from __future__ import annotations

import html
import re
from typing import ClassVar

import tifffile

from slides.header import UM_PER, number
from slides.tiff_pages import falling, suits
from slides.tiff_slide import Pyramid, TiffSlide

PIXELS = re.compile(r"<(?:\w+:)?Pixels\b([^>]*)>")
POWER = re.compile(r'<(?:\w+:)?Objective\b[^>]*\bNominalMagnification="([\d.]+)"')


class OmeTiffReader(TiffSlide):
    """A slide in an OME-TIFF."""

    reader: ClassVar[str] = "tiff-ome"
    reason: ClassVar[str] = "it is an OME-TIFF of tiled RGB, so tiles are decoded directly"

    @staticmethod
    def pyramid(tiff: tifffile.TiffFile) -> Pyramid | None:
        """Find the levels.

        Args:
            tiff: An open file.

        Returns:
            The first page and its SubIFDs, or None for anything but OME-TIFF in RGB.
        """
        base = tiff.pages[0]
        if not tiff.is_ome or not isinstance(base, tifffile.TiffPage):
            return None
        below = [page for page in base.pages or () if isinstance(page, tifffile.TiffPage)]
        pages = sorted([base, *below], key=lambda page: -page.imagewidth)
        if pages[0] is not base or not all(suits(page) for page in pages) or not falling(pages):
            return None
        return Pyramid(pages, _properties(base.description))


def _properties(description: str) -> dict[str, str]:
    """Scale and objective power of the first image; nothing else of the description is ever looked at."""
    found = {"openslide.vendor": "ome-tiff"}
    pixels = PIXELS.search(description)
    for axis in "XY":
        stated = re.search(rf'\bPhysicalSize{axis}="([^"]*)"', pixels[1]) if pixels else None
        unit = re.search(rf'\bPhysicalSize{axis}Unit="([^"]*)"', pixels[1]) if pixels else None
        size, um = number(stated[1] if stated else None), UM_PER.get(html.unescape(unit[1]) if unit else "µm")
        if size and um:
            found[f"openslide.mpp-{axis.lower()}"] = repr(size * um)
    power = POWER.search(description)
    if power:
        found["openslide.objective-power"] = power[1]
    return found
