"""Areas, shares and the grid of cells, against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from biomarkers.composition import cell_table, class_areas, immune_grid, measure, tumour_stroma_ratio
from biomarkers.criteria import Cells
from foundation import TISSUES
from slides import Mpp
from tiling import TileGrid, TileSpec


def grid_of(cells: list[tuple[int, int]], tissue: list[float], mpp0: Mpp, mpp: float = 0.5, px: int = 224) -> TileGrid:
    rows, cols = (max(cell[axis] for cell in cells) + 1 for axis in (0, 1))
    return TileGrid(
        TileSpec(mpp, px),
        mpp0,
        (10, 20),
        (rows, cols),
        np.array(cells, np.int32).reshape(-1, 2),
        np.array(tissue, np.float32),
        np.full(len(cells), -1, np.int64),
    )


def shares_of(*names: str) -> NDArray[np.float32]:
    return np.eye(len(TISSUES), dtype=np.float32)[[TISSUES.index(name) for name in names]]


def test_area_is_tile_area_times_tissue_times_share() -> None:
    areas = class_areas(np.array([[0.25, 0.75]]), np.array([0.5]), 0.012544)
    assert areas.tolist() == [[0.001568, 0.004704]]


def test_composition_of_four_tiles_by_hand() -> None:
    grid = grid_of([(0, 0), (0, 1), (1, 0), (1, 1)], [1.0, 1.0, 0.5, 0.5], Mpp(0.25, 0.5))
    found = measure(grid, shares_of("tumour", "stroma", "immune_cells", "in_situ"), TISSUES, Cells())
    tile = (224 * 0.5 / 1000) ** 2  # the scale of the tiles counts, not that of the scan
    classes = found["classes"]
    assert isinstance(classes, dict)
    assert math.isclose(float(str(found["analysed_tissue_mm2"])), 3 * tile)
    assert math.isclose(classes["immune_cells"]["area_mm2"], 0.5 * tile)
    assert found["immune_share"] == pytest.approx(0.5 / 3)
    assert found["tumour_stroma_ratio"] == pytest.approx(1 / (1 + 1 + 0.5))
    assert sum(entry["share"] for entry in classes.values()) == pytest.approx(1)
    assert classes["muscle"] == {"area_mm2": 0.0, "share": 0.0}


def test_no_ratio_without_stroma_and_tumour() -> None:
    assert tumour_stroma_ratio(dict.fromkeys(TISSUES, 0.0)) is None
    assert tumour_stroma_ratio(dict.fromkeys(TISSUES, 0.0) | {"stroma": 2.0}) == 1.0
    grid = grid_of([(0, 0)], [1.0], Mpp.square(0.5))
    assert measure(grid, shares_of("adipose"), TISSUES, Cells())["tumour_stroma_ratio"] is None


def test_a_tile_across_an_edge_is_divided_by_area() -> None:
    # Tiles of 400 um, cells of 1 mm: the third tile of a row reaches 200 um into the next cell.
    grid = grid_of([(0, 0), (0, 1), (0, 2)], [1.0] * 3, Mpp.square(1.0), mpp=1.0, px=400)
    table = cell_table(grid, np.ones((3, 1)), 1.0)
    assert table.cells.tolist() == [[0, 0], [1, 0]]
    assert table.totals.ravel() == pytest.approx([2.5, 0.5])
    assert table.origin == (10.0, 20.0)


def test_the_grid_reports_only_cells_with_enough_tissue() -> None:
    grid = grid_of([(0, 0), (0, 1), (0, 3)], [1.0, 1.0, 0.1], Mpp.square(1.0), mpp=1.0, px=1000)
    areas = class_areas(shares_of("immune_cells", "stroma", "stroma"), grid.tissue, grid.tile_area_mm2)
    found = immune_grid(grid, areas, TISSUES.index("immune_cells"), Cells())
    assert (found["cells"], found["cells_left_out"]) == (2, 1)
    assert (found["min"], found["median"], found["max"]) == (0.0, 0.5, 1.0)
    assert found["share_of_cells_at_least"] == {"limit": 0.2, "share": 0.5}
    assert found["places"] == [
        {"x": 10, "y": 20, "tissue_mm2": 1.0, "immune_share": 1.0},
        {"x": 1010, "y": 20, "tissue_mm2": 1.0, "immune_share": 0.0},
    ]


def test_without_a_full_cell_the_summary_is_none_and_not_nan() -> None:
    grid = grid_of([(0, 0)], [0.5], Mpp.square(0.5))
    found = immune_grid(grid, class_areas(shares_of("stroma"), grid.tissue, grid.tile_area_mm2), 2, Cells())
    assert (found["cells"], found["min"], found["median"], found["max"]) == (0, None, None, None)
    assert found["share_of_cells_at_least"] == {"limit": 0.2, "share": None}


@given(
    cells=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=60, unique=True),
    mpp0=st.tuples(st.floats(0.1, 1.0), st.floats(0.1, 1.0)),
    side=st.floats(0.3, 2.0),
    seed=st.integers(0, 2**16),
)
def test_what_lies_in_the_cells_adds_up_to_what_lies_in_the_tiles(
    cells: list[tuple[int, int]], mpp0: tuple[float, float], side: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    grid = grid_of(cells, [1.0] * len(cells), Mpp(*mpp0), mpp=1.0)
    values = rng.random((len(cells), 3)) + 0.01
    table = cell_table(grid, values, side**2)
    assert table.totals.sum(axis=0) == pytest.approx(values.sum(axis=0))
    assert len(np.unique(table.cells, axis=0)) == len(table.cells)
    # Full tiles cannot put more tissue into a cell than the cell has room for.
    areas = cell_table(grid, np.full((len(cells), 1), grid.tile_area_mm2), side**2).totals
    assert areas.max() <= side**2 * (1 + 1e-9)
    assert (table.cells >= 0).all()
