"""Cut one band of a slide on whatever worker: the function that pools map."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from slides import Address, SlideInfo, open_slide
from slides.identity import recall
from tiling import layout, quality
from tiling.cut import Band, cut, inside, require_same
from tiling.homes import homes
from tiling.shard import Keep, write_shard
from tiling.staging import Staging

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tiling.grid import TileGrid

QUALITY, MEASURED = "quality", "measured"
"""What rows of a band's record are called after their zoom."""


class TileMeasure(Protocol):
    """Something to compute from every tile while its pixels are at hand, such as an encoder; it travels to workers."""

    @property
    def digest(self) -> str:
        """What determines its numbers, in hex."""

    def __call__(self, mpp: float, tiles: NDArray[np.uint8]) -> NDArray[Any]:
        """Measure tiles.

        Args:
            mpp: Their scale in micrometres per pixel.
            tiles: RGB [n, px, px, 3].

        Returns:
            [n, k]; k and type are the same for all tiles of a scale.
        """


@dataclass(frozen=True)
class CutTask:
    """What a worker needs to cut a band: no pixels, no open files."""

    address: Address
    root: Path
    """The staging folder."""
    zooms: tuple[float, ...]
    """Scales of the family."""
    name: str
    blocks: Band
    keep: Keep
    measure: TileMeasure | None
    expected: SlideInfo
    """What the plan was made for."""
    known: tuple[tuple[tuple[str, ...], str], ...] = ()
    """What the driver knows of the slide's identity, so that not every worker reads all of it to find out."""


def cut_band(task: CutTask) -> int:
    """Cut a band into the staging folder, unless an earlier run did.

    Args:
        task: What and where.

    Returns:
        How many tiles of all zooms the band holds.
    """
    staging = Staging(task.root)
    family = layout.staged_grids(staging.store, task.zooms)
    count = sum(len(inside(grid, block, zoom)) for block in task.blocks for zoom, grid in enumerate(family))
    if not staging.is_done(task.name):
        rows: dict[str, list[NDArray[Any]]] = {}
        members: dict[str, Any] = {}
        recall(dict(task.known))
        with open_slide(task.address) as slide:
            require_same(slide, task.expected)
            for block in task.blocks:
                for zoom, index, tiles in cut(slide, family, block):
                    if len(index):
                        members |= _keep(task, family, zoom, (index, tiles))
                        for name, values in _measured(task, family[zoom], index, tiles).items():
                            rows.setdefault(name, []).append(values)
        staging.record(task.name, {name: np.concatenate(parts) for name, parts in rows.items()}, members)
    return count


def _measured(
    task: CutTask, grid: TileGrid, index: NDArray[np.int64], tiles: NDArray[np.uint8]
) -> dict[str, NDArray[Any]]:
    """Rows of a block's tiles of one zoom."""
    zoom = f"{grid.mpp:g}"
    rows: dict[str, NDArray[Any]] = {f"{zoom}.index": index, f"{zoom}.{QUALITY}": quality.measure_tiles(tiles)}
    if task.measure is not None:
        rows[f"{zoom}.{MEASURED}"] = task.measure(grid.mpp, tiles)
    return rows


def _keep(
    task: CutTask, family: Sequence[TileGrid], zoom: int, tiles: tuple[NDArray[np.int64], NDArray[np.uint8]]
) -> dict[str, Any]:
    """Write a block's tiles of one zoom as one shard."""
    if task.keep == "no":
        return {}
    grid = family[zoom]
    shard = layout.shard_layouts(family, task.keep)[grid.mpp]
    (home,) = homes(grid, shard, tiles[0])  # a block and a shard are one
    chunks = dict(zip(home.places.tolist(), tiles[1], strict=True))
    return {home.member: Staging(task.root).place(home.member, lambda path: write_shard(path, chunks, shard))}


def gathered(
    staging: Staging, names: Sequence[str], grids: Sequence[TileGrid]
) -> tuple[dict[str, Any], dict[str, dict[float, NDArray[Any]]]]:
    """Put the records of all bands together; each is read once.

    Args:
        staging: Where they are recorded.
        names: Of all bands.
        grids: Of all zooms.

    Returns:
        Members that the bands wrote; `QUALITY` and `MEASURED` -> scale -> rows [N, k] in the order of its grid.
    """
    members: dict[str, Any] = {}
    whole: dict[str, dict[float, NDArray[Any]]] = {QUALITY: {}, MEASURED: {}}
    by_zoom = {f"{grid.mpp:g}": grid for grid in grids}
    for name in names:
        arrays, listed = staging.rows(name)
        members |= listed
        for key, part in arrays.items():
            zoom, _, kind = key.rpartition(".")
            if kind in whole:
                grid = by_zoom[zoom]
                rows = whole[kind].setdefault(grid.mpp, np.zeros((len(grid), *part.shape[1:]), part.dtype))
                rows[arrays[f"{zoom}.index"]] = part
    return members, whole
