"""Where a slide is spoilt: ink, folds, bubbles and gross blur, seen at the scale of the tissue mask.

Rules, not networks: what each finds and misses is measured in docs/decisions/0014-tissue-and-quality.md. They say where
to look; nothing is left out because of them unless a caller decides so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from tiling.grid import UM2_PER_MM2
from tiling.segmenter import absorbances, glass_of
from tiling.tissue import TissueMask, area_shares, disc, drop_small

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

ARTEFACTS: tuple[str, ...] = ("pen", "fold", "bubble", "blur")
"""The layers of a quality map, in order."""


@dataclass(frozen=True, slots=True, eq=False)
class QualityMap:
    """Where artefacts are."""

    array: NDArray[np.bool_]
    """[K, h, w], one layer for each name, over the whole slide, on pixels of about 8 um."""
    scale: tuple[float, float]
    """Level-0 pixels for one map pixel, in x and y."""
    names: tuple[str, ...] = ARTEFACTS
    """What the layers are."""

    def layer(self, name: str) -> TissueMask:
        """One artefact as a mask.

        Args:
            name: One of `names`.

        Returns:
            The mask.
        """
        return TissueMask(self.array[self.names.index(name)], self.scale)

    def shares(self, left: NDArray[Any], top: NDArray[Any], extent: tuple[float, float]) -> NDArray[np.float32]:
        """Share of many rectangles of one size under each artefact, by integral images.

        Args:
            left: Left edges in level-0 pixels, [N].
            top: Top edges in level-0 pixels, [N].
            extent: Width and height in level-0 pixels.

        Returns:
            Share of each rectangle's full area, [N, K] in 0..1, as `TissueMask.shares` counts.
        """
        layers = [area_shares(self.layer(name), left, top, extent) for name in self.names]
        return np.stack(layers, axis=1)


def artefacts(image: NDArray[np.uint8], mask: TissueMask, mpp: float) -> QualityMap:
    """Look for artefacts on an overview.

    Args:
        image: RGB [h, w, 3], such as `overview(slide).image`.
        mask: Where tissue is, on the same pixels.
        mpp: Their scale in um/px; finer ones than the rules are made for are shrunk first.

    Returns:
        The map.
    """
    height, width = mask.array.shape
    size = (max(1, round(width / max(1.0, MADE_FOR / mpp))), max(1, round(height / max(1.0, MADE_FOR / mpp))))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    tissue = shrunk(mask.array, size)
    mpp *= width / size[0]
    absorbed = absorbances(small, glass_of(small))
    pen = _pen(absorbed, mpp)
    layers = (pen, _fold(absorbed, tissue & ~pen, mpp), _bubble(absorbed, pen, mpp), _blur(small, tissue, mpp))
    return QualityMap(np.stack(layers), (mask.scale[0] * width / size[0], mask.scale[1] * height / size[1]))


MADE_FOR = 8.0
"""Scale in um/px at which the rules are tried out."""


def shrunk(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """A mask on larger pixels, True where at least half of one is.

    Args:
        mask: [h, w].
        size: Columns and rows of the result.

    Returns:
        [rows, columns].
    """
    return np.asarray(cv2.resize(mask.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA) >= 128, np.bool_)


INK = 0.6
"""Least absorbance of ink in its strongest colour: marker strokes hold back half of the light and more."""


def _pen(absorbed: NDArray[np.float32], mpp: float) -> NDArray[np.bool_]:
    """Broad strokes in a colour that no common stain has.

    Haematoxylin absorbs green at least as much as red, eosin green most, DAB blue most and red least (Ruifrok and
    Johnston 2001). Blue ink absorbs red most, green ink green least, red ink green and blue alike, black ink all alike.
    """
    red, green, blue = cv2.split(absorbed)
    most = cv2.max(cv2.max(red, green), blue)
    fewest = cv2.min(cv2.min(red, green), blue)
    ink = (red > 1.25 * green) | ((red > 0.95 * green) & (red > 1.5))  # blue; over tissue the second rule
    ink |= green < 0.8 * cv2.min(red, blue)  # green
    ink |= (blue > 0.7 * green) & (red < 0.3 * green) & (green > 1.8)  # red
    ink |= (fewest > 0.9) & (most - fewest < 0.3 * most)  # black
    ink &= most > INK
    return _large(ink, mpp, thinnest_um=80, smallest_mm2=0.03)


def _large(found: NDArray[np.bool_], mpp: float, thinnest_um: float, smallest_mm2: float) -> NDArray[np.bool_]:
    """Only what is broad and large; gaps as wide as the thinnest are closed first."""
    element = disc(thinnest_um, (mpp, mpp))
    closed = cv2.morphologyEx(found.astype(np.uint8), cv2.MORPH_CLOSE, element)
    opened = cv2.morphologyEx(closed, cv2.MORPH_OPEN, element)
    return drop_small(np.asarray(opened, np.uint8), smallest_mm2 * UM2_PER_MM2 / mpp**2)


FOLD_MORE, FOLD_WIDTH_UM, FOLD_AROUND_UM, FOLD_DARKEST = 0.8, 250.0, 800.0, 0.1
"""A fold is two or three layers. It absorbs more than what lies within its width, by this share of what tissue around
it absorbs, and is among this darkest share of all tissue."""
FOLD_LONG, FOLD_UM = 6.0, 400.0
"""It is this many times as long as wide, and at least so long."""


def _fold(absorbed: NDArray[np.float32], tissue: NDArray[np.bool_], mpp: float) -> NDArray[np.bool_]:
    """Long dark bands inside tissue."""
    if not tissue.any():
        return tissue
    total = cv2.GaussianBlur(absorbed.sum(axis=2), (0, 0), 8 / mpp)
    inside = tissue.astype(np.float32)
    side = 2 * round(FOLD_AROUND_UM / 2 / mpp) + 1
    around = cv2.blur(total * inside, (side, side)) / np.maximum(cv2.blur(inside, (side, side)), 0.05)
    width = 2 * round(FOLD_WIDTH_UM / 2 / mpp) + 1
    more = cv2.morphologyEx(total, cv2.MORPH_TOPHAT, np.ones((width, width), np.uint8))
    darkest = np.quantile(total[tissue], 1 - FOLD_DARKEST)
    dark = (more > FOLD_MORE * around) & (total > darkest) & tissue
    return _long(dark.astype(np.uint8), mpp)


def _long(mask: NDArray[np.uint8], mpp: float) -> NDArray[np.bool_]:
    """Only pieces that are bands: a band of some width has a mean distance to its edge of a quarter of that."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    inner = np.asarray(cv2.distanceTransform(mask, cv2.DIST_L2, 3), np.float64)
    area = np.maximum(stats[:, cv2.CC_STAT_AREA], 1)
    width = np.maximum(4 * np.bincount(labels.ravel(), weights=inner.ravel(), minlength=count) / area, 1)
    keep = (area >= FOLD_UM / mpp * width) & (area >= FOLD_LONG * width**2)
    keep[0] = False
    return np.asarray(keep[labels], np.bool_)


OPAQUE, ROUND = 0.7, 0.65
"""A rim holds back this much of every colour, which no stain does; 4 pi area / outline^2 of what it encloses."""


def _bubble(absorbed: NDArray[np.float32], pen: NDArray[np.bool_], mpp: float) -> NDArray[np.bool_]:
    """Round places inside a thin rim that is dark in every colour: light is refracted away there."""
    red, green, blue = cv2.split(absorbed)
    opaque = (cv2.min(cv2.min(red, green), blue) > OPAQUE) & ~pen
    rim = cv2.morphologyEx(opaque.astype(np.uint8), cv2.MORPH_CLOSE, disc(60, (mpp, mpp)))
    found = np.zeros(rim.shape, np.uint8)
    outlines, tree = cv2.findContours(rim, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    least = 0.03 * UM2_PER_MM2 / mpp**2
    for outline, (_, _, _, parent) in zip(outlines, tree[0] if outlines else (), strict=True):
        if parent >= 0 and cv2.contourArea(outline) >= least and _roundness(outline) > ROUND:
            cv2.drawContours(found, [outline], -1, 1, cv2.FILLED)
    grown = cv2.dilate(found, disc(60, (mpp, mpp)))
    return np.asarray((found > 0) | ((grown > 0) & opaque), np.bool_)


def _roundness(outline: Sequence[Any] | NDArray[Any]) -> float:
    """1 for a disc, less for everything else."""
    around = cv2.arcLength(np.asarray(outline), closed=True)
    return float(4 * np.pi * cv2.contourArea(np.asarray(outline)) / max(around, 1.0) ** 2)


BLUR_SLOPE, BLUR_AROUND_UM = 0.33, 250.0


def _blur(image: NDArray[np.uint8], tissue: NDArray[np.bool_], mpp: float) -> NDArray[np.bool_]:
    """Tissue without detail even at this scale: gross defocus only; `quality.measure_tiles` sees the rest."""
    green = image[..., 1].astype(np.float32)
    side = (2 * round(BLUR_AROUND_UM / 2 / mpp) + 1,) * 2
    near, far = (cv2.blur(_squares(green, lag), side) for lag in (1, 2))
    flat = (near + 1) / (far + 1) < BLUR_SLOPE
    return _large(np.asarray(flat & tissue, np.bool_), mpp, thinnest_um=120, smallest_mm2=0.1)


def _squares(grey: NDArray[np.float32], lag: int) -> NDArray[np.float32]:
    """Squared differences of pixels some way apart, along rows plus along columns."""
    padded = cv2.copyMakeBorder(grey, 0, lag, 0, lag, cv2.BORDER_REFLECT_101)
    along, across = padded[:-lag, lag:] - grey, padded[lag:, :-lag] - grey
    return np.asarray(along**2 + across**2, np.float32)
