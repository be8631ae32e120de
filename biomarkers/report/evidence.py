"""What a report shows: thumbnail, maps, and real tiles cut from the slide. Label and macro images are never read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from biomarkers.reading import Reading
from biomarkers.report.maps import Scale, View, class_map, heat_map, heat_scale, outlined, tile_index, tissue_view
from slides import Address, Region, Size, Slide, SlideInfo, open_slide
from slides.resampling import resample
from tiling import TileGrid, TileStore

MAP_PX = 1280
"""Longer side of the thumbnail and of the maps: fills a page, and a tile of 112 um on a 60 mm section is still 2 px."""
GALLERY = 10
"""Tiles shown from each end of the ranking."""
TILE_PX = 200
"""Side of a shown tile in pixels: about 0.56 um/px for tiles of 112 um, so that nuclei are seen."""


@dataclass(frozen=True, eq=False)
class ShownTile:
    """A tile of the slide as it is shown."""

    image: NDArray[np.uint8]
    """RGB [TILE_PX, TILE_PX, 3]."""
    x: int
    """Left edge, level-0 px."""
    y: int
    """Top edge, level-0 px."""
    value: float
    name: str = ""


@dataclass(frozen=True, eq=False)
class Layers:
    """One view of the slide: its pixels and the maps over them."""

    view: View
    image: NDArray[np.uint8]
    """RGB [h, w, 3]."""
    heat: NDArray[np.uint8]
    """RGBA [h, w, 4]."""
    classes: NDArray[np.uint8] | None
    """RGBA [h, w, 4]; None where there are no class shares."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a report shows of one slide."""

    info: SlideInfo
    whole: Layers
    """The whole slide, in the geometry of the thumbnail: the files beside the report."""
    tissue: Layers
    """The part with tissue: the pictures of the report."""
    outlined: NDArray[np.uint8]
    """`tissue.image` with the outline of the tissue."""
    scale: Scale
    shown: tuple[str, ...]
    """Classes that are the most likely one somewhere."""
    top: tuple[ShownTile, ...]
    bottom: tuple[ShownTile, ...]
    examples: tuple[ShownTile, ...]
    """The clearest tile of each class that occurs."""


def gather(address: Address, store: TileStore, grid: TileGrid, reading: Reading) -> Evidence:
    """Collect what a report shows.

    Args:
        address: The slide.
        store: Its tiles.
        grid: The tiles that were read.
        reading: What the head said about them.

    Returns:
        The evidence.
    """
    scale = heat_scale(reading.heat, reading.heat_label, diverging=reading.diverging)
    top, bottom = ends(reading.heat)
    with open_slide(address) as slide:
        size = slide.info.size
        thumbnail = slide.thumbnail(MAP_PX)
        whole = View(Region.whole(size), (thumbnail.shape[0], thumbnail.shape[1]))
        part = tissue_view(grid, size, MAP_PX)
        image = slide.read_overview(part.region, Size(part.shape[1], part.shape[0]))
        return Evidence(
            info=slide.info,
            whole=_layers(whole, thumbnail, grid, reading, scale),
            tissue=_layers(part, image, grid, reading, scale),
            outlined=outlined(image, store.mask, part),
            scale=scale,
            shown=tuple(name for name in reading.names if name in set(reading.classes)),
            top=tuple(_cut(slide, grid, int(i), float(reading.heat[i])) for i in top),
            bottom=tuple(_cut(slide, grid, int(i), float(reading.heat[i])) for i in bottom),
            examples=_examples(slide, grid, reading),
        )


def _layers(view: View, image: NDArray[np.uint8], grid: TileGrid, reading: Reading, scale: Scale) -> Layers:
    index = tile_index(grid, view)
    classes = None if reading.shares is None else class_map(index, reading.shares, reading.names)
    return Layers(view, image, heat_map(index, reading.heat, scale), classes)


def ends(values: NDArray[np.floating], count: int = GALLERY) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The tiles with the highest and the lowest values; never one in both.

    Args:
        values: Value of each tile, [N].
        count: How many from each end, at most half of all.

    Returns:
        Indices from the highest down, and from the lowest up.
    """
    order = np.argsort(-values, kind="stable")
    count = min(count, len(order) // 2)
    return order[:count], order[::-1][:count]


def _examples(slide: Slide, grid: TileGrid, reading: Reading) -> tuple[ShownTile, ...]:
    if reading.shares is None:
        return ()
    best = np.argmax(reading.shares, axis=0)  # [C]
    winners = np.argmax(reading.shares, axis=1)  # [N]
    return tuple(
        _cut(slide, grid, int(best[c]), float(reading.shares[best[c], c]), name)
        for c, name in enumerate(reading.names)
        if winners[best[c]] == c
    )


def _cut(slide: Slide, grid: TileGrid, index: int, value: float, name: str = "") -> ShownTile:
    x, y = (int(v) for v in grid.coords[index])
    image = slide.read(Region(x, y, round(grid.extent[0]), round(grid.extent[1])), grid.mpp)
    return ShownTile(resample(image, Size(TILE_PX, TILE_PX)), x, y, value, name)
