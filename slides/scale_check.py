"""Is the stated scale believable? Nuclei have much the same size in every tissue, so they serve as a ruler.

Compact dark blobs of the haematoxylin channel in the most cellular tiles are taken for nuclei. Their median diameter is
4.7 to 5.8 um in the nucleus-rich classes of 5,615 patches of known scale, and 5.0 to 5.3 um on three slides (decision
13), so a scale that is wrong by a factor of two shows. It is a check for a person to look at, not a measurement.
Colour deconvolution: Ruifrok and Johnston, Anal Quant Cytol Histol 23:291 (2001). Threshold: Otsu (1979).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from slides.geometry import Region, Size

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from slides.slide import Slide

NUCLEUS_UM = 5.2
"""Median diameter of what `_diameters` finds at the right scale; cut nuclei and fragments pull it below 7 um."""
MISMATCH = 1.6
"""Further off than this is reported; tissues differ among each other by up to 1.25."""
FINER, COARSER = 4.2, 6.6
"""Diameters in um beyond which the tiles are read again at half or double the scale, where blobs are as large in
pixels as they should be."""
READ_UM = 0.5
TILE_PX, TILES = 512, 6
THUMBNAIL_PX = 512
LEAST_NUCLEI = 40
LEAST_AREA_PX, LEAST_SOLIDITY, LEAST_ASPECT = 20, 0.88, 0.5
LEAST_CONTRAST = 0.2
"""Optical density of haematoxylin between the darkest and the lightest of a tile; glass and its noise have less."""
DARKEST_GLASS = 100
"""Median grey of a thumbnail below which the slide is not brightfield."""
STAINS = np.linalg.inv(np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])).astype(np.float32)
"""Haematoxylin, eosin, residual from optical density."""


@dataclass(frozen=True, slots=True)
class ScaleCheck:
    """What the nuclei say of the stated scale."""

    nuclei: int
    """How many were measured."""
    diameter_um: float | None
    """Their median diameter at the stated scale; None where there were too few, or no scale is stated."""
    ratio: float | None
    """Stated over likely micrometres per pixel."""
    warning: str | None
    """One sentence where the ratio is more than `MISMATCH` off."""


def check_scale(slide: Slide) -> ScaleCheck:
    """Compare the stated scale with the size of nuclei in a few tiles; costs a fraction of a second.

    Args:
        slide: An open slide.

    Returns:
        The comparison.
    """
    small = slide.thumbnail(THUMBNAIL_PX)
    if slide.info.mpp is None or float(np.median(small)) < DARKEST_GLASS:
        return ScaleCheck(0, None, None, None)
    found = _diameters(slide, small, READ_UM)
    middle = float(np.median(found)) if len(found) else 0.0
    if len(found) and not FINER <= middle <= COARSER:
        found = _diameters(slide, small, READ_UM * (0.5 if middle < FINER else 2.0))
    if len(found) < LEAST_NUCLEI:
        return ScaleCheck(len(found), None, None, None)
    diameter = float(np.median(found))
    ratio = diameter / NUCLEUS_UM
    likely = slide.info.mpp.x / ratio
    wrong = not 1 / MISMATCH < ratio < MISMATCH
    text = (
        f"the scale of {slide.info.mpp.x:.3g} um/px looks wrong by a factor of {max(ratio, 1 / ratio):.1f}:"
        f" nuclei would measure {diameter:.1f} um; {likely:.2g} um/px would fit them"
    )
    return ScaleCheck(len(found), round(diameter, 2), round(ratio, 2), text if wrong else None)


def _diameters(slide: Slide, small: NDArray[np.uint8], um: float) -> NDArray[np.float64]:
    """Diameters in micrometres of nuclei in the most cellular tiles, read at a scale."""
    mpp, size = slide.info.require_mpp(), slide.info.size
    side = Size(
        min(size.width, max(1, round(TILE_PX * um / mpp.x))), min(size.height, max(1, round(TILE_PX * um / mpp.y)))
    )
    wanted = Size(max(8, round(side.width * mpp.x / um)), max(8, round(side.height * mpp.y / um)))
    places = _cellular(haematoxylin(small), (size.width // side.width, size.height // side.height))
    blobs = [
        compact_blobs(slide.read_to(Region(col * side.width, row * side.height, side.width, side.height), wanted))
        for row, col in places
    ]
    return np.concatenate(blobs) * um


def _cellular(stain: NDArray[np.float32], grid: tuple[int, int]) -> list[tuple[int, int]]:
    """Rows and columns of the cells of a grid with the most haematoxylin."""
    mean = np.asarray(cv2.resize(stain, grid, interpolation=cv2.INTER_AREA), np.float32)
    order = np.argsort(-mean, axis=None)[:TILES]
    return [(int(place) // grid[0], int(place) % grid[0]) for place in order]


def haematoxylin(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Optical density of haematoxylin.

    Args:
        rgb: [H, W, 3].

    Returns:
        [H, W].
    """
    density = -np.log10((rgb.astype(np.float32) + 1) / 256)
    return np.asarray((density @ STAINS)[..., 0], np.float32)


def compact_blobs(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Diameters of dark round blobs.

    Args:
        rgb: [H, W, 3].

    Returns:
        Of a disc of the same area, in pixels, [n].
    """
    stain = cv2.GaussianBlur(haematoxylin(rgb), (0, 0), 1.0)
    low, high = np.percentile(stain, [1, 99.5])
    if high - low < LEAST_CONTRAST:
        return np.empty(0)
    grey = np.clip((stain - low) / (high - low) * 255, 0, 255).astype(np.uint8)
    _, mask = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    outlines, _ = cv2.findContours(np.asarray(mask, np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.array([d for outline in outlines if (d := _diameter(np.asarray(outline))) is not None], np.float64)


def _diameter(outline: NDArray[np.int32]) -> float | None:
    """Diameter of a blob, None for one that is small, long or ragged."""
    edge = len(outline) / 2  # outlines run through the centres of edge pixels
    area = cv2.contourArea(outline) + edge
    if area < LEAST_AREA_PX:
        return None
    _, (width, height), _ = cv2.minAreaRect(outline)
    solid = area / (cv2.contourArea(cv2.convexHull(outline)) + edge)
    if solid < LEAST_SOLIDITY or min(width, height) < LEAST_ASPECT * max(width, height):
        return None
    return float(np.sqrt(4 * area / np.pi))
