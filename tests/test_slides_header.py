"""Whose word on the scale is believed, and what is said aloud where words differ."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from slides import Address, MissingMppError, Mpp, Region, open_slide
from slides.formats.openslide import OpenSlideReader
from slides.header import scale
from slides.testing import draw

HALF = {"openslide.mpp-x": "0.5", "openslide.mpp-y": "0.5"}
POWER = {"openslide.objective-power": "20"}


@pytest.mark.parametrize(
    ("mpp0", "properties", "words"),
    [
        (0.5, HALF | POWER, ()),
        (0.52, HALF | POWER, ()),
        (0.25, HALF, ("caller says 0.25 um/px, the header 0.5 um/px",)),
        (0.25, HALF | POWER, ("objective power of 20x", "the header 0.5 um/px")),
        (0.25, POWER, ("the caller says 0.25 um/px, which does not fit the slide's objective power of 20x",)),
        (Mpp(0.5, 0.25), {}, ("not square (0.5 x 0.25 um)",)),
        (Mpp(0.5, 0.9), POWER, ("objective power", "not square")),
        (Mpp(0.5, 0.25), HALF, ("not square", "the header 0.5 um/px")),
        (20.0, {}, ("coarser than any scan",)),
        (None, HALF | {"openslide.mpp-y": "0.9"} | POWER, ("the header says 0.5 x 0.9 um/px", "not square")),
        (None, HALF | {"openslide.mpp-y": "0.53"}, ()),
        (None, {"openslide.mpp-x": "20", "openslide.mpp-y": "20"}, ("coarser than any scan",)),
    ],
)
def test_every_contradiction_is_named(
    mpp0: float | Mpp | None, properties: dict[str, str], words: tuple[str, ...]
) -> None:
    mpp, _, warnings = scale(Address.of("x", mpp0), properties)
    assert mpp is not None
    assert len(warnings) == len(words)
    assert all(word in warning for word, warning in zip(words, warnings, strict=True))


@pytest.mark.parametrize("unit", ["INCH", "CENTIMETER"])
@pytest.mark.parametrize("openslides", [False, True])
def test_the_resolution_of_a_print_is_not_that_of_a_scan(tmp_path: Path, unit: str, *, openslides: bool) -> None:
    """300 dpi, as a graphics program leaves it, are 84.7 um/px; OpenSlide believes them."""
    path = tmp_path / "s.tif"
    dots = 300 if unit == "INCH" else 118
    image = draw(600, 500, 0.5)
    tifffile.imwrite(path, image, tile=(256, 256), photometric="rgb", resolution=(dots, dots), resolutionunit=unit)
    with OpenSlideReader(Address.of(path), "") if openslides else open_slide(path) as slide:
        assert slide.info.mpp is None
        assert "that of a print" in slide.info.warnings[0]
        with pytest.raises(MissingMppError):
            slide.read(Region(0, 0, 9, 9), 1.0)


@pytest.mark.parametrize(("unit", "dots"), [("INCH", 50_800), ("CENTIMETER", 20_000)])
def test_a_scanners_resolution_is_believed_in_either_unit(tmp_path: Path, unit: str, dots: int) -> None:
    path = tmp_path / "s.tif"
    image = np.zeros((300, 300, 3), np.uint8)
    tifffile.imwrite(path, image, tile=(256, 256), photometric="rgb", resolution=(dots, dots), resolutionunit=unit)
    with open_slide(path) as slide, OpenSlideReader(Address.of(path), "") as theirs:
        assert slide.info.mpp == theirs.info.mpp == Mpp.square(0.5)
