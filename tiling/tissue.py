"""Find the tissue on a slide from its thumbnail, by absorbance, in well under a second."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from tiling.errors import NotBrightfieldError, NoTissueError
from tiling.grid import UM2_PER_MM2

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from slides import Mpp, Slide


@dataclass(frozen=True, slots=True)
class TissueSpec:
    """How tissue is found."""

    mpp: float = 8.0
    """Scale of the mask in micrometres per pixel: a tile of 112 um is then 14 px wide."""
    max_side: int = 8192
    """Largest side of the mask in pixels, whatever the slide."""
    absorbance: float = 0.09
    """Least natural-log absorbance against the slide's own glass, in any colour: 9 % less light. Noise of glass
    stays under 0.02, the membranes of fat reach 0.1 at this scale."""
    glass_floor: float = 215.0
    """Glass is at least this bright; a slide that is all tissue would otherwise pass its palest tissue for glass."""
    close_um: float = 100.0
    """Gaps up to this wide belong to the tissue: a fat vacuole is as large as that."""
    smallest_mm2: float = 0.02
    """Smaller pieces are dust; smaller holes are filled."""
    least_mm2: float = 0.05
    """A slide with less tissue than this has none: four tiles of 112 um."""


@dataclass(frozen=True, slots=True)
class TissueMask:
    """Where tissue is."""

    array: NDArray[np.bool_]
    """[h, w], True where tissue is, over the whole slide."""
    scale: tuple[float, float]
    """Level-0 pixels for one mask pixel, in x and y."""

    def area_mm2(self, mpp0: Mpp) -> float:
        """Tissue area.

        Args:
            mpp0: Scale of level 0.

        Returns:
            Square millimetres.
        """
        pixel_um2 = self.scale[0] * mpp0.x * self.scale[1] * mpp0.y
        return float(np.count_nonzero(self.array)) * pixel_um2 / UM2_PER_MM2

    def shares(self, left: NDArray[Any], top: NDArray[Any], extent: tuple[float, float]) -> NDArray[np.float32]:
        """Tissue share of many rectangles of one size, by integral image.

        Args:
            left: Left edges in level-0 pixels, [N].
            top: Top edges in level-0 pixels, [N].
            extent: Width and height in level-0 pixels.

        Returns:
            Share of each rectangle's full area, [N] in 0..1; what lies beyond the slide is not tissue.
        """
        table: NDArray[Any] = cv2.integral(self.array.astype(np.uint8), sdepth=cv2.CV_64F)
        x0, x1 = left / self.scale[0], (left + extent[0]) / self.scale[0]
        y0, y1 = top / self.scale[1], (top + extent[1]) / self.scale[1]
        inside = _at(table, y1, x1) - _at(table, y0, x1) - _at(table, y1, x0) + _at(table, y0, x0)
        share = inside / ((x1 - x0) * (y1 - y0))
        return np.clip(share, 0, 1).astype(np.float32)


def segment(slide: Slide, spec: TissueSpec | None = None) -> TissueMask:
    """Find the tissue of a stained section on bright glass; a dark slide is refused (`require_brightfield`).

    Args:
        slide: An open slide with a known scale.
        spec: How; the defaults suit H&E and IHC.

    Returns:
        The mask.

    Raises:
        NoTissueError: If there is next to no tissue.
    """
    spec = spec or TissueSpec()
    mpp0, size = slide.info.require_mpp(), slide.info.size
    longest_um = max(size.width * mpp0.x, size.height * mpp0.y)
    image = slide.thumbnail(min(spec.max_side, max(64, round(longest_um / spec.mpp))))
    require_brightfield(image)
    scale = (size.width / image.shape[1], size.height / image.shape[0])
    mask = TissueMask(_tidy(_stained(image, spec), scale, mpp0, spec), scale)
    if mask.area_mm2(mpp0) < spec.least_mm2:
        found = f"{mask.area_mm2(mpp0):.3f} mm2, at least {spec.least_mm2:g} are needed"
        msg = f"there is too little tissue on the slide ({found})"
        raise NoTissueError(msg)
    return mask


DARK, DARK_SHARE, BRIGHT = 60, 0.5, 110


def require_brightfield(image: NDArray[np.uint8]) -> None:
    """Refuse an image that is mostly dark: fluorescence, or no slide at all.

    Args:
        image: RGB thumbnail [h, w, 3].

    Raises:
        NotBrightfieldError: If most pixels are dark, or hardly any is bright.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if np.mean(grey < DARK) > DARK_SHARE or np.percentile(grey, 95) < BRIGHT:
        msg = "the slide is not a brightfield scan (its background is dark, as in fluorescence)"
        raise NotBrightfieldError(msg)


def _stained(image: NDArray[np.uint8], spec: TissueSpec) -> NDArray[np.uint8]:
    """Pixels that hold back more light than the slide's glass (Beer-Lambert), 0 or 1."""
    smooth = cv2.GaussianBlur(image, (0, 0), 1).astype(np.float32)
    grey = smooth.mean(axis=2)
    glass = np.median(smooth[grey >= np.percentile(grey, 90)], axis=0)
    light = (smooth + 1) / (np.maximum(glass, spec.glass_floor) + 1)
    return np.asarray(light.min(axis=2) < np.exp(-spec.absorbance), np.uint8)


def _tidy(mask: NDArray[np.uint8], scale: tuple[float, float], mpp0: Mpp, spec: TissueSpec) -> NDArray[np.bool_]:
    """Close gaps, drop dust, fill small holes; sizes in micrometres, so that every scan is treated alike."""
    pixel_um, row_um = scale[0] * mpp0.x, scale[1] * mpp0.y
    sides = (2 * round(spec.close_um / 2 / pixel_um) + 1, 2 * round(spec.close_um / 2 / row_um) + 1)
    closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, sides))
    least = spec.smallest_mm2 * UM2_PER_MM2 / (pixel_um * row_um)
    kept = _drop_small(np.asarray(closed, np.uint8), least)
    return ~_drop_small((~kept).astype(np.uint8), least)


def _drop_small(mask: NDArray[np.uint8], least: float) -> NDArray[np.bool_]:
    """Only the connected pieces of at least `least` pixels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] >= least
    keep[0] = False
    return np.asarray(keep[labels], np.bool_)


def _at(table: NDArray[Any], y: NDArray[Any], x: NDArray[Any]) -> NDArray[np.float64]:
    """The integral image at fractional places, clipped to the slide."""
    y, x = np.clip(y, 0, table.shape[0] - 1), np.clip(x, 0, table.shape[1] - 1)
    y0, x0 = np.minimum(y.astype(int), table.shape[0] - 2), np.minimum(x.astype(int), table.shape[1] - 2)
    dy, dx = y - y0, x - x0
    upper = table[y0, x0] * (1 - dx) + table[y0, x0 + 1] * dx
    lower = table[y0 + 1, x0] * (1 - dx) + table[y0 + 1, x0 + 1] * dx
    return np.asarray(upper * (1 - dy) + lower * dy)
