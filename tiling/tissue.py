"""Find the tissue on a slide from its thumbnail, in well under a second."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from tiling.errors import NotBrightfieldError, NoTissueError, SpecError
from tiling.grid import UM2_PER_MM2
from tiling.segmenter import STAIN_RULES, AbsorbanceSegmenter, Segmenter, Stain

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from slides import Mpp, Slide, SlideInfo


LIMITS = {
    "mpp": (0.01, 1000.0),
    "max_side": (64, 16384),
    "absorbance": (0.0, 10.0),
    "glass_floor": (0.0, 255.0),
    "thin_um": (0.0, 1000.0),
    "close_um": (0.0, 1000.0),
    "smallest_mm2": (0.0, 1e6),
    "hole_mm2": (0.0, 1e6),
    "least_mm2": (0.0, 1e6),
}
"""Least and greatest value of each number of a `TissueSpec`: beyond them nothing is meant, or memory is at risk."""


@dataclass(frozen=True, slots=True)
class TissueSpec:
    """How tissue is found.

    Raises:
        SpecError: If a value makes no sense.
    """

    mpp: float = 5.0
    """Scale of the mask in micrometres per pixel: a tile of 112 um is then 22 px wide."""
    max_side: int = 8192
    """Largest side of the mask in pixels, whatever the slide."""
    stain: Stain = "any"
    """`he`, `ihc` or `any`; what each means is said at `tiling.segmenter.STAIN_RULES`."""
    absorbance: float | None = None
    """Least natural-log absorbance against the slide's own glass, in any colour; None takes that of the stain."""
    glass_floor: float = 215.0
    """Glass is at least this bright; a slide that is all tissue would otherwise pass its palest tissue for glass."""
    thin_um: float = 12.0
    """Tissue thinner than this is a net, as the membranes of fat are; gaps of solid tissue are not closed."""
    close_um: float = 48.0
    """Gaps up to this wide in a net belong to the tissue: the fat vacuoles of breast are about as large."""
    smallest_mm2: float = 0.001
    """Smaller pieces are dust; a tile of 112 um needs three times as much to be kept."""
    hole_mm2: float = 0.001
    """Smaller holes are filled: a lumen of 36 um."""
    least_mm2: float = 0.05
    """A slide with less tissue than this has none: four tiles of 112 um."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense.

        Raises:
            SpecError: If a value makes no sense.
        """
        for name, (least, most) in LIMITS.items():
            value = getattr(self, name)
            if not (value is None and name == "absorbance") and not least <= value <= most:  # also what is no number
                msg = f"{name} of the tissue must lie between {least:g} and {most:g}, not {value}"
                raise SpecError(msg)
        if self.stain not in STAIN_RULES:
            msg = f"the stain is one of {', '.join(STAIN_RULES)}, not {self.stain}"
            raise SpecError(msg)

    @property
    def segmenter(self) -> AbsorbanceSegmenter:
        """The rule by absorbance that the spec asks for."""
        return AbsorbanceSegmenter(self.stain, self.absorbance, self.glass_floor)


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
        return area_shares(self, left, top, extent)


@dataclass(frozen=True, slots=True, eq=False)
class Overview:
    """The whole slide at the scale at which tissue is looked for."""

    image: NDArray[np.uint8]
    """RGB [h, w, 3]."""
    scale: tuple[float, float]
    """Level-0 pixels for one pixel, in x and y."""
    mpp: float
    """Micrometres for one pixel, the mean of both directions."""


def overview(slide: Slide, spec: TissueSpec | None = None) -> Overview:
    """Read a slide small, and refuse it if it is no brightfield scan.

    Args:
        slide: An open slide with a known scale.
        spec: At which scale.

    Returns:
        The overview.
    """
    mpp0, size = slide.info.require_mpp(), slide.info.size
    image = slide.thumbnail(_longest(slide.info, spec or TissueSpec()))
    require_brightfield(image)
    scale = (size.width / image.shape[1], size.height / image.shape[0])
    return Overview(image, scale, (scale[0] * mpp0.x + scale[1] * mpp0.y) / 2)


def _longest(info: SlideInfo, spec: TissueSpec) -> int:
    """The longer side of the mask in pixels."""
    mpp0 = info.require_mpp()
    longest_um = max(info.size.width * mpp0.x, info.size.height * mpp0.y)
    return min(spec.max_side, max(64, round(longest_um / spec.mpp)))


def mask_shape(info: SlideInfo, spec: TissueSpec | None = None) -> tuple[int, int]:
    """Rows and columns of the mask that `segment` makes, without reading pixels: for masks that come from elsewhere.

    Args:
        info: The slide; its scale must be known.
        spec: At which scale.

    Returns:
        Rows, columns.
    """
    factor = max(1.0, max(info.size.width, info.size.height) / _longest(info, spec or TissueSpec()))
    return max(1, round(info.size.height / factor)), max(1, round(info.size.width / factor))


def segment(slide: Slide, spec: TissueSpec | None = None, segmenter: Segmenter | None = None) -> TissueMask:
    """Find the tissue of a stained section on bright glass; a dark slide is refused (`require_brightfield`).

    Args:
        slide: An open slide with a known scale.
        spec: How; the defaults suit H&E and IHC.
        segmenter: What tells tissue from glass; None is the rule by absorbance.

    Returns:
        The mask.
    """
    return segment_overview(overview(slide, spec), slide.info.require_mpp(), spec, segmenter)


def segment_overview(
    seen: Overview, mpp0: Mpp, spec: TissueSpec | None = None, segmenter: Segmenter | None = None
) -> TissueMask:
    """Find the tissue on an overview that was read already.

    Args:
        seen: The overview.
        mpp0: Scale of level 0.
        spec: How.
        segmenter: What tells tissue from glass; None is the rule by absorbance.

    Returns:
        The mask.

    Raises:
        NoTissueError: If there is next to no tissue.
    """
    spec = spec or TissueSpec()
    found = (segmenter or spec.segmenter)(seen.image, seen.mpp)
    mask = TissueMask(_tidy(found.astype(np.uint8), seen.scale, mpp0, spec), seen.scale)
    if mask.area_mm2(mpp0) < spec.least_mm2:
        shown = f"{mask.area_mm2(mpp0):.3f} mm2, at least {spec.least_mm2:g} are needed"
        msg = f"there is too little tissue on the slide ({shown})"
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
    counts = np.cumsum(np.bincount(grey.ravel(), minlength=256)) / grey.size
    if counts[DARK - 1] > DARK_SHARE or counts[BRIGHT - 1] >= 0.95:
        msg = "the slide is not a brightfield scan (its background is dark, as in fluorescence)"
        raise NotBrightfieldError(msg)


def _tidy(mask: NDArray[np.uint8], scale: tuple[float, float], mpp0: Mpp, spec: TissueSpec) -> NDArray[np.bool_]:
    """Close nets, drop dust, fill small holes; sizes in micrometres, so that every scan is treated alike."""
    pixel = (scale[0] * mpp0.x, scale[1] * mpp0.y)
    solid = cv2.morphologyEx(mask, cv2.MORPH_OPEN, disc(spec.thin_um, pixel))
    net = cv2.morphologyEx(cv2.subtract(mask, solid), cv2.MORPH_CLOSE, disc(spec.close_um, pixel))
    pixel_mm2 = pixel[0] * pixel[1] / UM2_PER_MM2
    kept = drop_small(np.asarray(cv2.bitwise_or(mask, net), np.uint8), spec.smallest_mm2 / pixel_mm2)
    return ~drop_small((~kept).astype(np.uint8), spec.hole_mm2 / pixel_mm2)


def disc(width_um: float, pixel_um: tuple[float, float]) -> NDArray[np.uint8]:
    """A round structuring element.

    Args:
        width_um: Its diameter in micrometres.
        pixel_um: Micrometres a pixel, in x and y.

    Returns:
        [rows, columns], odd sides.
    """
    columns, rows = (2 * round(width_um / 2 / side) + 1 for side in pixel_um)
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (columns, rows)), np.uint8)


def drop_small(mask: NDArray[np.uint8], least: float) -> NDArray[np.bool_]:
    """Only the connected pieces of at least some pixels; pixels that touch at a corner are connected.

    Args:
        mask: [h, w], 0 or 1.
        least: Pixels that a piece must have.

    Returns:
        [h, w].
    """
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] >= least
    keep[0] = False
    return np.asarray(keep[labels], np.bool_)


def area_shares(
    mask: TissueMask, left: NDArray[Any], top: NDArray[Any], extent: tuple[float, float]
) -> NDArray[np.float32]:
    """What `TissueMask.shares` returns, for any mask over a slide.

    Args:
        mask: The mask.
        left: Left edges in level-0 pixels, [N].
        top: Top edges in level-0 pixels, [N].
        extent: Width and height in level-0 pixels.

    Returns:
        Share of each rectangle's full area, [N] in 0..1.
    """
    table: NDArray[Any] = cv2.integral(mask.array.astype(np.uint8), sdepth=cv2.CV_64F)
    x0, x1 = left / mask.scale[0], (left + extent[0]) / mask.scale[0]
    y0, y1 = top / mask.scale[1], (top + extent[1]) / mask.scale[1]
    inside = _at(table, y1, x1) - _at(table, y0, x1) - _at(table, y1, x0) + _at(table, y0, x0)
    share = inside / ((x1 - x0) * (y1 - y0))
    return np.clip(share, 0, 1).astype(np.float32)


def _at(table: NDArray[Any], y: NDArray[Any], x: NDArray[Any]) -> NDArray[np.float64]:
    """The integral image at fractional places, clipped to the slide."""
    y, x = np.clip(y, 0, table.shape[0] - 1), np.clip(x, 0, table.shape[1] - 1)
    y0, x0 = np.minimum(y.astype(int), table.shape[0] - 2), np.minimum(x.astype(int), table.shape[1] - 2)
    dy, dx = y - y0, x - x0
    upper = table[y0, x0] * (1 - dx) + table[y0, x0 + 1] * dx
    lower = table[y0 + 1, x0] * (1 - dx) + table[y0 + 1, x0 + 1] * dx
    return np.asarray(upper * (1 - dy) + lower * dy)
