"""Philips TIFF: JPEG tiles, of which those on glass may be left out, and levels padded to whole tiles.

The rules are OpenSlide's (openslide-vendor-philips-tiff.c): the true size of a level follows from its pixel spacing in
the XML description, as a whole multiple of the finest. Nothing else of that description is looked at: it holds the
barcode and an image of the label.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from slides.geometry import Size
from slides.header import number
from slides.tiff_pages import JPEG, suits, tiled_pages
from slides.tiff_slide import Pyramid, TiffSlide

if TYPE_CHECKING:
    import tifffile

UM_PER_MM = 1000.0
MOST_POWER = 200.0
REPRESENTATIONS = 'Name="PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE"'
SPACING = re.compile(
    r'Name="DICOM_PIXEL_SPACING"[^>]*>\s*(?:"|&quot;)([\d.eE+-]+)(?:"|&quot;)\s+(?:"|&quot;)([\d.eE+-]+)'
)
POWER = re.compile(r'Name="DICOM_DERIVATION_DESCRIPTION"[^>]*>[^<]*?-levels=(\d+)')


class PhilipsReader(TiffSlide):
    """A slide of a Philips scanner, exported as TIFF."""

    reader: ClassVar[str] = "tiff-philips"
    reason: ClassVar[str] = "it is a Philips TIFF, so its compressed tiles are decoded directly"

    @staticmethod
    def pyramid(tiff: tifffile.TiffFile) -> Pyramid | None:
        """Find the levels.

        Args:
            tiff: An open file.

        Returns:
            All its tiled pages with their true sizes, or None for another vendor's file.
        """
        pages = tiled_pages(tiff)
        if not pages or not pages[0].software.startswith("Philips") or "DPUfsImport" not in pages[0].description:
            return None
        if not all(suits(page, {JPEG}, sparse=True) for page in pages):
            return None
        sizes = _sizes(pages)
        return None if sizes is None else Pyramid(pages, _properties(pages[0].description), sizes)


def _sizes(pages: list[tifffile.TiffPage]) -> list[Size] | None:
    """True sizes of the levels; None where the description does not name as many as there are pages."""
    listed = pages[0].description.partition(REPRESENTATIONS)[2]
    spacings = [_spacing(match) for match in SPACING.finditer(listed)]
    if len(spacings) != len(pages) or not all(y and x for y, x in spacings):
        return None
    base, (y0, x0) = pages[0], spacings[0]
    factors = [max(1, round((y / y0 + x / x0) / 2)) for y, x in spacings]
    sizes = [Size(max(1, base.imagewidth // factor), max(1, base.imagelength // factor)) for factor in factors]
    padded = all(s.width <= p.imagewidth and s.height <= p.imagelength for s, p in zip(sizes, pages, strict=True))
    return sizes if padded and factors == sorted(set(factors)) else None


def _properties(description: str) -> dict[str, str]:
    """Scale and objective power by OpenSlide's names."""
    found = {"openslide.vendor": "philips"}
    own, _, listed = description.partition(REPRESENTATIONS)
    match = SPACING.search(own) or SPACING.search(listed)
    if match:
        found |= {f"openslide.mpp-{axis}": repr(mm * UM_PER_MM) for axis, mm in zip("yx", _spacing(match), strict=True)}
    power = POWER.search(description)
    if power and 0 < float(power[1]) <= MOST_POWER:
        found["openslide.objective-power"] = power[1]
    return found


def _spacing(match: re.Match[str]) -> tuple[float, float]:
    """Distance of rows and of columns in millimetres."""
    return number(match[1]) or 0.0, number(match[2]) or 0.0
