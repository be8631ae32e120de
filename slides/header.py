"""The scale of level 0: what headers say of it, and in which order they are believed."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from slides.errors import BadMppError
from slides.units import Mpp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import tifffile

    from slides.info import Address

OBJECTIVE_TIMES_MPP = 10.0
"""A 20x objective gives about 0.5 um/px, a 40x one 0.25: scanners' convention, used when nothing better is stated."""
HEADER_DISAGREES = 1.3
"""Header scale and objective power further apart than this factor are reported."""
OTHERS_DISAGREE = 1.1
"""The caller's and the header's scale, or the two directions, further apart than this factor are reported: scanners
and the programs that convert slides round by a few percent."""
COARSEST_SCAN_UM = 10.0
"""Coarser pixels are those of an overview or, in resolution tags, of a print: 300 dpi are 84.7 um/px."""
GENERIC = "generic-tiff"
"""Files of no vendor: their scale is in the resolution tags, which any program writes and few mean."""
UM_PER_UNIT = {2: 25_400.0, 3: 10_000.0}
"""Micrometres in a TIFF resolution unit: inch, centimetre."""
UM_PER = {
    name: um
    for um, names in {
        1.0: ("µm", "\u03bcm", "um", "micrometer", "micrometre", "micron"),
        1e-6: ("pm", "picometer", "picometre"),
        1e-4: ("Å", "angstrom"),
        1e-3: ("nm", "nanometer", "nanometre"),
        1e3: ("mm", "millimeter", "millimetre"),
        1e4: ("cm", "centimeter", "centimetre"),
        1e6: ("m", "meter", "metre"),
        25_400.0: ("in", "inch"),
    }.items()
    for name in names
}
"""Micrometres in the units of OME-XML and OME-Zarr; both spellings of the micro sign."""


def scale(address: Address, properties: Mapping[str, str]) -> tuple[Mpp | None, str, list[str]]:
    """The scale of level 0: the caller's, else the header's, else from the objective power, else none.

    Args:
        address: Holds the caller's scale, if any.
        properties: OpenSlide's properties.

    Returns:
        The scale or None, where it came from, and warnings.
    """
    warnings: list[str] = []
    power = number(properties.get("openslide.objective-power"))
    header = _header_mpp(properties, warnings)
    if address.mpp0 is not None:
        warnings += _doubts(address.mpp0, "the caller", power)
        if header is not None and _apart(address.mpp0.ratio(header), OTHERS_DISAGREE):
            warnings.append(
                f"the caller says {_text(address.mpp0)}, the header {_text(header)}; the caller's was taken"
            )
        return address.mpp0, "caller", warnings
    if header is not None:
        return header, "header", warnings + _doubts(header, "the header", power)
    if power:
        with suppress(BadMppError):
            mpp = Mpp.square(OBJECTIVE_TIMES_MPP / power)
            warnings.append(f"no pixel size in the header; {mpp.x:g} um/px was taken from the objective power")
            return mpp, "objective-power", warnings
    return None, "none", warnings


def _doubts(mpp: Mpp, who: str, power: float | None) -> list[str]:
    """What is odd about a scale by itself and beside the objective power."""
    doubts = []
    if power and _apart((mpp.x * power / OBJECTIVE_TIMES_MPP, mpp.y * power / OBJECTIVE_TIMES_MPP), HEADER_DISAGREES):
        doubts.append(f"{who} says {_text(mpp)}, which does not fit the slide's objective power of {power:g}x")
    if _apart((mpp.x / mpp.y,), OTHERS_DISAGREE):
        doubts.append(f"{who} says that pixels are not square ({mpp.x:g} x {mpp.y:g} um), which is rare")
    if max(mpp.x, mpp.y) > COARSEST_SCAN_UM:
        doubts.append(f"{who} says {_text(mpp)}, which is coarser than any scan that shows cells")
    return doubts


def _apart(ratios: Sequence[float], factor: float) -> bool:
    """Whether any ratio is further from one than a factor."""
    return any(not 1 / factor <= ratio <= factor for ratio in ratios)


def _text(mpp: Mpp) -> str:
    """A scale for people."""
    return f"{mpp.x:g} um/px" if mpp.x == mpp.y else f"{mpp.x:g} x {mpp.y:g} um/px"


def _header_mpp(properties: Mapping[str, str], warnings: list[str]) -> Mpp | None:
    """The header's scale where it is plausible."""
    x, y = (number(properties.get(f"openslide.mpp-{axis}")) for axis in "xy")
    if x is None or y is None:
        return None
    try:
        mpp = Mpp(x, y)
    except BadMppError as error:
        warnings.append(f"the header's pixel size was ignored: {error}")
        return None
    if properties.get("openslide.vendor") == GENERIC and max(x, y) > COARSEST_SCAN_UM:
        warnings.append(f"the header's resolution ({_text(mpp)}) is that of a print and not of a scan; it was ignored")
        return None
    return mpp


def number(text: str | None) -> float | None:
    """A number of the header.

    Args:
        text: The header's text.

    Returns:
        The number, or None for anything else, infinity and "not a number" included.
    """
    try:
        value = float(text) if text is not None else None
    except ValueError:
        return None
    return value if value is not None and math.isfinite(value) else None


def aperio_properties(description: str) -> dict[str, str] | None:
    """Scale and objective power of an Aperio description; nothing else of it is ever looked at.

    Args:
        description: The ImageDescription of the first page.

    Returns:
        OpenSlide's names for what is there, or None for a file that is not Aperio's.
    """
    if not description.startswith("Aperio"):
        return None
    found = {"openslide.vendor": "aperio"}
    for key, names in (("MPP", ("mpp-x", "mpp-y")), ("AppMag", ("objective-power",))):
        match = re.search(rf"\|\s*{key}\s*=\s*([^|]*)", description)
        if match:
            found |= {f"openslide.{name}": match[1].strip() for name in names}
    return found


def resolution_properties(page: tifffile.TiffPage) -> dict[str, str]:
    """Scale by the TIFF resolution tags of a pyramid of no vendor.

    Args:
        page: The full-size page.

    Returns:
        OpenSlide's names for what is there.
    """
    found = {"openslide.vendor": GENERIC}
    unit = page.tags.valueof("ResolutionUnit", 1)
    for axis in "XY":
        top, bottom = page.tags.valueof(f"{axis}Resolution", (0, 1))
        if int(unit) in UM_PER_UNIT and top:
            found[f"openslide.mpp-{axis.lower()}"] = repr(UM_PER_UNIT[int(unit)] * bottom / top)
    return found
