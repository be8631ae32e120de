"""How much of each tissue there is: areas, shares, tumour-stroma ratio and the immune share from place to place.

Pure arithmetic on numbers that a tile classifier gave: the area of a class in a tile is the tile's area times the
tissue share of the tile times the class's share (probability) in it. Everything is in mm2; nothing here reads a slide.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from biomarkers.criteria import Cells
from tiling import TileGrid

IMMUNE = "immune_cells"
STROMA = "stroma"
TUMOUR_EPITHELIUM = ("tumour", "in_situ", "giant_cancer_cells")
"""The classes that make up tumour epithelium in the tumour-stroma ratio."""


@dataclass(frozen=True)
class CellTable:
    """What lies in the cells of a square grid over the slide. A tile across an edge is divided by area."""

    origin: tuple[float, float]
    """Level-0 x, y of cell (0, 0)."""
    side: tuple[float, float]
    """Level-0 pixels of a cell in x and y."""
    cells: NDArray[np.int64]
    """Column and row of each cell that a tile touches, [M, 2]."""
    totals: NDArray[np.float64]
    """Sum of each value over each cell, [M, K]."""


def class_areas(shares: NDArray[np.floating], tissue: NDArray[np.floating], tile_mm2: float) -> NDArray[np.float64]:
    """Area of each class in each tile.

    Args:
        shares: Class shares of each tile, [N, C], each row sums to 1.
        tissue: Tissue share of each tile, [N] in 0..1.
        tile_mm2: Area of a whole tile in mm2.

    Returns:
        mm2, [N, C].
    """
    return np.asarray(shares, np.float64) * np.asarray(tissue, np.float64)[:, None] * tile_mm2


def tumour_stroma_ratio(areas: Mapping[str, float]) -> float | None:
    """Stroma / (stroma + tumour epithelium), over everything analysed.

    Smit et al. 2023 (PMC9922811) score one stroma-rich field by eye; this is the mean of the section, not comparable.

    Args:
        areas: mm2 of each class.

    Returns:
        0..1, or None where there is neither stroma nor tumour epithelium.
    """
    whole = areas[STROMA] + sum(areas[name] for name in TUMOUR_EPITHELIUM)
    return areas[STROMA] / whole if whole > 0 else None


def cell_table(grid: TileGrid, values: NDArray[np.float64], cell_mm2: float) -> CellTable:
    """Sum values of tiles over the cells of a square grid that starts where the tile grid starts.

    Args:
        grid: The tiles.
        values: Extensive values (areas, counts) of each tile, [N, K].
        cell_mm2: Area of a cell in mm2; its side is at least a tile's.

    Returns:
        The table; its totals add up to the totals of `values`.
    """
    side = np.array([1000 * math.sqrt(cell_mm2) / grid.mpp0.x, 1000 * math.sqrt(cell_mm2) / grid.mpp0.y])
    place = grid.cells[:, ::-1] * np.array(grid.step)
    extent = np.array(grid.extent)
    first = np.floor(place / side).astype(np.int64)
    within = np.clip(((first + 1) * side - place) / extent, 0.0, 1.0)  # share of the tile in its first column and row
    cells, parts = [], []
    for right in (0, 1):
        for below in (0, 1):
            weight = np.abs(right - within[:, 0]) * np.abs(below - within[:, 1])
            cells.append(first + np.array((right, below)))
            parts.append(values * weight[:, None])
    touched, index = np.unique(np.concatenate(cells), axis=0, return_inverse=True)
    totals = np.zeros((len(touched), values.shape[1]))
    np.add.at(totals, index.ravel(), np.concatenate(parts))
    kept = totals.any(axis=1)
    return CellTable(
        (float(grid.origin[0]), float(grid.origin[1])), (float(side[0]), float(side[1])), touched[kept], totals[kept]
    )


def immune_grid(grid: TileGrid, areas: NDArray[np.float64], immune: int, spec: Cells) -> dict[str, object]:
    """The immune share of each grid cell, and how it is spread over the slide.

    Args:
        grid: The tiles.
        areas: mm2 of each class in each tile, [N, C].
        immune: Which class is immune cells.
        spec: Size of the cells, and which are left out.

    Returns:
        `cells` and `cells_left_out` (counts), `min`, `median` and `max` of the share (None without a cell),
        `share_of_cells_at_least` {limit, share}, and `places`: per cell `x`, `y` (level-0 px, top left), `tissue_mm2`
        and `immune_share`.
    """
    table = cell_table(grid, np.stack([areas.sum(axis=1), areas[:, immune]], axis=1), spec.area_mm2)
    enough = table.totals[:, 0] >= spec.min_tissue_share * spec.area_mm2
    tissue, held = table.totals[enough].T
    share = held / tissue
    corner = np.rint(np.array(table.origin) + table.cells[enough] * np.array(table.side)).astype(int)
    return {
        "cell_mm2": spec.area_mm2,
        "cells": int(enough.sum()),
        "cells_left_out": int((~enough).sum()),
        "min_tissue_share": spec.min_tissue_share,
        "min": _or_none(np.min, share),
        "median": _or_none(np.median, share),
        "max": _or_none(np.max, share),
        "share_of_cells_at_least": {
            "limit": spec.immune_share,
            "share": _or_none(np.mean, share >= spec.immune_share),
        },
        "places": [
            {"x": int(x), "y": int(y), "tissue_mm2": round(float(t), 6), "immune_share": round(float(s), 6)}
            for (x, y), t, s in zip(corner, tissue, share, strict=True)
        ],
    }


def _or_none(of: Callable[..., np.floating], values: NDArray[np.generic]) -> float | None:
    """A summary, or None of nothing."""
    return float(of(values)) if len(values) else None


def measure(grid: TileGrid, shares: NDArray[np.floating], names: tuple[str, ...], spec: Cells) -> dict[str, object]:
    """All measures of a slide's composition.

    Args:
        grid: The analysed tiles.
        shares: Class shares of each tile, [N, C].
        names: The classes, in the order of `shares`.
        spec: The cells of the immune grid.

    Returns:
        `analysed_tissue_mm2`, `classes` (name -> {area_mm2, share}), `immune_share`, `tumour_stroma_ratio` (None where
        there is neither stroma nor tumour), `tumour_epithelium` (the classes counted as such), `immune_grid`.
    """
    areas = class_areas(shares, grid.tissue, grid.tile_area_mm2)
    whole = float(areas.sum())
    total = dict(zip(names, areas.sum(axis=0).tolist(), strict=True))
    share = {name: area / whole if whole > 0 else 0.0 for name, area in total.items()}
    return {
        "analysed_tissue_mm2": whole,
        "classes": {name: {"area_mm2": total[name], "share": share[name]} for name in names},
        "immune_share": share[IMMUNE],
        "tumour_stroma_ratio": tumour_stroma_ratio(total),
        "tumour_epithelium": list(TUMOUR_EPITHELIUM),
        "immune_grid": immune_grid(grid, areas, names.index(IMMUNE), spec),
    }
