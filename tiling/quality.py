"""How good a slide is to look at: measures of each tile from its pixels, and of the slide as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from tiling.artefacts import shrunk

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from slides import Mpp
    from tiling.artefacts import QualityMap
    from tiling.tissue import TissueMask

RULES_VERSION = 1
"""Raise it whenever the same slide may get another mask, other artefacts or other measures of its tiles: a change of
`tiling.tissue`, `tiling.artefacts` or this module that no field of a spec shows. It is part of fingerprints."""

TILE_MEASURES: tuple[str, ...] = ("sharpness", "brightness", "saturation")
"""`sharpness`: mean squared difference of green one pixel apart over that two pixels apart, no unit: 0.25 for a smooth
ramp, which is what blur makes of everything, 1 for noise such as that of glass, 0 where all pixels are equal. It is the
rise of the structure function (Kolmogorov 1941) at one pixel, and does not depend on how strong the stain is.
`brightness`: mean of green, 0..1. `saturation`: (most - least) / most of the mean colour (that of HSV), 0..1."""

RULES_VERSION = 1
"""Raised when the same pixels would give another mask, other artefacts or other measures, so that stores made by the
older rules are not taken for new ones."""

FOCUS_MPP, FOCUS_LEAST = (0.25, 0.5, 1.0), (0.272, 0.28, 0.292)
"""Sharpness under which a tile is out of focus, by its scale in um/px: the first percentile of 960 real H&E patches;
how blur is told from it: docs/decisions/0014-tissue-and-quality.md."""


def measure_tiles(tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Measure each tile by itself, in some 30 microseconds; the same bits whatever stands beside it.

    Args:
        tiles: RGB [n, px, px, 3].

    Returns:
        [n, len(TILE_MEASURES)], in that order.
    """
    measures = np.empty((len(tiles), len(TILE_MEASURES)), np.float32)
    for row, tile in zip(measures, tiles, strict=True):
        mean = cv2.mean(tile)[:3]
        most = max(mean)
        row[:] = sharpness(cv2.extractChannel(tile, 1)), mean[1] / 255, (most - min(mean)) / max(most, 1.0)
    return measures


def sharpness(grey: NDArray[Any]) -> float:
    """The sharpness of one image; see `TILE_MEASURES`.

    Args:
        grey: uint8 [h, w].

    Returns:
        0.25 (smooth) to about 1 (noise); less only where next to nothing differs.
    """
    return _step(grey, 1) / (_step(grey, 2) + 1)


def _step(grey: NDArray[Any], lag: int) -> float:
    """Mean squared difference of pixels some way apart, along rows plus along columns."""
    along, across = grey[:, lag:], grey[lag:]
    squares = cv2.norm(along, grey[:, :-lag], cv2.NORM_L2SQR) / max(along.size, 1)
    return float(squares + cv2.norm(across, grey[:-lag], cv2.NORM_L2SQR) / max(across.size, 1))


def out_of_focus(sharpness: NDArray[np.floating], mpp: float) -> NDArray[np.bool_]:
    """Which tiles are out of focus.

    Args:
        sharpness: The measure of each tile, [N].
        mpp: Scale of the tiles in um/px; thresholds are measured for 0.25 to 1.

    Returns:
        [N].
    """
    return np.asarray(sharpness < np.interp(np.log2(mpp), np.log2(FOCUS_MPP), FOCUS_LEAST), np.bool_)


def slide_quality(mask: TissueMask, quality: QualityMap, mpp0: Mpp) -> dict[str, float]:
    """What the overview says of a slide.

    Args:
        mask: Where tissue is.
        quality: Where artefacts are.
        mpp0: Scale of level 0.

    Returns:
        `tissue_mm2`; for each name in `ARTEFACTS` the share of the tissue under it.
    """
    height, width = quality.array.shape[1:]
    tissue = shrunk(mask.array, (width, height))
    found = {"tissue_mm2": mask.area_mm2(mpp0)}
    for name, layer in zip(quality.names, quality.array, strict=True):
        found[name] = float(np.count_nonzero(layer & tissue)) / max(1, int(np.count_nonzero(tissue)))
    return found


def tiles_quality(measures: NDArray[np.float32], mpp: float) -> dict[str, float]:
    """What the tiles of a zoom say of a slide.

    Args:
        measures: What `measure_tiles` found, [N, len(TILE_MEASURES)].
        mpp: Scale of the zoom in um/px.

    Returns:
        `out_of_focus`, the share of tiles, and the median of each measure.
    """
    found = {"out_of_focus": float(out_of_focus(measures[:, 0], mpp).mean())}
    return found | {name: float(value) for name, value in zip(TILE_MEASURES, np.median(measures, axis=0), strict=True)}
