"""Draw the outlines of a slide's tissue and artefacts, without any of its pixels.

python tools/draw_mask.py SLIDE.tiff docs/images/section_he_mask.png --mpp0 0.46
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from slides import Address, open_slide
from tiling.artefacts import ARTEFACTS, artefacts
from tiling.tissue import overview, segment_overview

TISSUE = (0, 128, 96)
COLOURS = dict(zip(ARTEFACTS, ((0, 70, 200), (200, 60, 0), (130, 0, 160), (120, 120, 120)), strict=True))


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--mpp0", type=float)
    arguments = parser.parse_args()
    with open_slide(Address.of(arguments.slide, arguments.mpp0)) as slide:
        seen, scale = overview(slide), slide.info.require_mpp()
    mask = segment_overview(seen, scale)
    quality = artefacts(seen.image, mask, seen.mpp)
    canvas = np.full((*mask.array.shape, 3), 255, np.uint8)
    draw(canvas, mask.array, TISSUE)
    for name in ARTEFACTS:
        layer = quality.layer(name).array.astype(np.uint8)
        draw(canvas, cv2.resize(layer, mask.array.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0, COLOURS[name])
    rows, columns = (np.flatnonzero(mask.array.any(axis=axis)) for axis in (1, 0))
    canvas = canvas[max(0, rows[0] - 10) : rows[-1] + 40, max(0, columns[0] - 10) : columns[-1] + 10].copy()
    ruler(canvas, seen.mpp)
    drawn = cv2.imencode(".png", cv2.cvtColor(canvas, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 9])[1]
    arguments.out.write_bytes(drawn.tobytes())
    print(f"{mask.area_mm2(scale):.2f} mm2 of tissue, {len(drawn)} bytes")


def draw(canvas: NDArray[np.uint8], mask: NDArray[np.bool_], colour: tuple[int, int, int]) -> None:
    """Outline a mask, its inside in a pale tint."""
    pale = np.array(colour) * 0.2 + 255 * 0.8
    canvas[mask] = pale.astype(np.uint8)
    outlines = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)[0]
    cv2.drawContours(canvas, outlines, -1, colour, 1)


def ruler(canvas: NDArray[np.uint8], mpp: float) -> None:
    """A scale bar of 1 mm and the names of the colours."""
    foot = canvas.shape[0] - 12
    cv2.line(canvas, (10, foot), (10 + round(1000 / mpp), foot), (0, 0, 0), 2)
    names = [("1 mm", (0, 0, 0)), ("tissue", TISSUE), *COLOURS.items()]
    for place, (name, colour) in enumerate(names):
        cv2.putText(canvas, name, (20 + round(1000 / mpp) + 70 * place, foot + 4), 0, 0.45, colour, 1, cv2.LINE_AA)


if __name__ == "__main__":
    main()
