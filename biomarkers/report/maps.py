"""Maps over the slide: one colour a tile.

A map pixel has the colour of the tile in which the pixel's centre lies, so every map agrees with level-0 coordinates to
half a map pixel, whatever the scales.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from biomarkers.report.colours import DIVERGING, SEQUENTIAL, class_colour, ramp, rgb
from slides import Region, Size
from tiling import TileGrid, TissueMask

OUTLINE = (0, 90, 181)
"""Blue that stands out from pink and purple."""
MARGIN = 0.03
"""Glass around the tissue, as a share of its longer side."""
NICE = (0.05, 0.1, 0.2, 0.25, 0.5, 1.0)
NICE_STEPS = (1.0, 2.0, 5.0)


@dataclass(frozen=True)
class Scale:
    """What the colours of a heat map mean."""

    low: float
    high: float
    stops: tuple[str, ...]
    label: str

    def ticks(self) -> list[float]:
        """The values at the ends and in the middle."""
        return [self.low, (self.low + self.high) / 2, self.high]


def heat_scale(values: NDArray[np.floating], label: str, *, diverging: bool) -> Scale:
    """Choose the ends of a heat map's scale; the highest 1 % of the values may lie beyond.

    Args:
        values: Value of each tile, [N].
        label: What the values are.
        diverging: True for values around 0, False for shares in 0..1.

    Returns:
        The scale: 0 to a round share, or even to both sides of 0.
    """
    reach = float(np.percentile(np.abs(values), 99)) if len(values) else 0.0
    if diverging:
        reach = reach or 1.0
        return Scale(-reach, reach, DIVERGING, label)
    return Scale(0.0, next((nice for nice in NICE if nice >= reach), 1.0), SEQUENTIAL, label)


@dataclass(frozen=True)
class View:
    """A part of the slide as an image: which part, and how many pixels."""

    region: Region
    """Level-0 pixels."""
    shape: tuple[int, int]
    """Height and width of the image."""


def tile_index(grid: TileGrid, view: View) -> NDArray[np.int64]:
    """Which tile lies under the centre of each pixel of a view.

    Args:
        grid: The tiles; without overlap.
        view: What is drawn.

    Returns:
        Index of the tile, -1 where there is none, [h, w].
    """
    lattice = np.full((grid.shape[0] + 1, grid.shape[1] + 1), -1, np.int64)  # the last row and column stay empty
    lattice[grid.cells[:, 0], grid.cells[:, 1]] = np.arange(len(grid))
    region, (height, width) = view.region, view.shape
    y = region.y - grid.origin[1] + (np.arange(height) + 0.5) * region.height / height
    x = region.x - grid.origin[0] + (np.arange(width) + 0.5) * region.width / width
    return np.asarray(lattice[_line(y, grid.step[1], grid.shape[0])[:, None], _line(x, grid.step[0], grid.shape[1])])


def tissue_view(grid: TileGrid, slide: Size, longest: int) -> View:
    """The part of a slide that holds its tiles, with a little glass around.

    Args:
        grid: The tiles.
        slide: Size of the slide in level-0 pixels.
        longest: Longer side of the image in pixels.

    Returns:
        The view; never more than the slide, never finer than level 0.
    """
    low = grid.coords.min(axis=0)
    high = grid.coords.max(axis=0) + np.ceil(grid.extent).astype(int)
    edge = round(MARGIN * float((high - low).max()))
    box = Region(
        int(low[0]) - edge, int(low[1]) - edge, int(high[0] - low[0]) + 2 * edge, int(high[1] - low[1]) + 2 * edge
    )
    region = box.clipped(Region.whole(slide)) or Region.whole(slide)
    factor = max(1.0, max(region.width, region.height) / longest)
    return View(region, (max(1, round(region.height / factor)), max(1, round(region.width / factor))))


def heat_map(index: NDArray[np.int64], values: NDArray[np.floating], scale: Scale) -> NDArray[np.uint8]:
    """Draw one value a tile.

    Args:
        index: From `tile_index`, [h, w].
        values: Value of each tile, [N].
        scale: What the colours mean.

    Returns:
        RGBA [h, w, 4], transparent where there is no tile.
    """
    return _paint(index, ramp(values, scale.stops, scale.low, scale.high))


def class_map(index: NDArray[np.int64], shares: NDArray[np.floating], names: tuple[str, ...]) -> NDArray[np.uint8]:
    """Draw the most likely class of each tile.

    Args:
        index: From `tile_index`, [h, w].
        shares: Class shares of each tile, [N, C].
        names: The classes.

    Returns:
        RGBA [h, w, 4], transparent where there is no tile.
    """
    colours = np.array([rgb(class_colour(name)) for name in names], np.uint8)
    return _paint(index, colours[np.argmax(shares, axis=1)])


def outlined(image: NDArray[np.uint8], mask: TissueMask, view: View) -> NDArray[np.uint8]:
    """Draw the outline of the tissue mask.

    Args:
        image: RGB of the view [h, w, 3].
        mask: Where tissue is.
        view: Which part of the slide the image shows.

    Returns:
        RGB [h, w, 3].
    """
    region, (height, width) = view.region, view.shape
    (scale_x, scale_y), (step_x, step_y) = mask.scale, (region.width / width, region.height / height)
    # Mask place under the centre of each pixel of the view; cv2 counts from the centre of the first mask pixel.
    place = np.array([
        [step_x / scale_x, 0, (region.x + step_x / 2) / scale_x - 0.5],
        [0, step_y / scale_y, (region.y + step_y / 2) / scale_y - 0.5],
    ])
    seen = cv2.warpAffine(
        mask.array.astype(np.float32), place, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    contours, _ = cv2.findContours((seen >= 0.5).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    drawn = image.copy()
    cv2.drawContours(drawn, contours, -1, OUTLINE, max(1, max(height, width) // 500))
    return drawn


def scale_bar(width_mm: float) -> float:
    """A round length between a tenth and a quarter of a width.

    Args:
        width_mm: Width of the map in mm.

    Returns:
        Length of the bar in mm: 1, 2 or 5 times a power of ten.

    >>> scale_bar(10.6)
    2.0
    """
    power = 10.0 ** np.floor(np.log10(width_mm / 4))
    return float(max(step * power for step in NICE_STEPS if step * power <= width_mm / 4))


def _line(place: NDArray[np.float64], step: float, cells: int) -> NDArray[np.int64]:
    """The lattice row (or column) at each place; `cells` stands for "outside"."""
    line = np.floor(place / step).astype(np.int64)
    return np.where((line >= 0) & (line < cells), line, cells)


def _paint(index: NDArray[np.int64], colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Colour of each tile to its pixels; index -1 reaches the transparent last row of the table."""
    table = np.zeros((len(colours) + 1, 4), np.uint8)
    table[:-1, :3], table[:-1, 3] = colours, 255
    return table[index]
