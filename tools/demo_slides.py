"""The slides behind the demonstration head: which are made, from which maps, and what is true in each of their tiles.

Everything is made by `make_slide.py` of the shared tools folder from tissue maps and patches, so the plan below (map,
size, encoding, seed, planted or not) is the whole data set. Maps are kept apart: a map that trained the head never
tests it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

TRAIN_MAPS = range(40)
VALIDATION_MAPS = range(40, 48)
TEST_MAPS = range(48, 60)
DEFAULT_CELLS = "200x200"
ENCODINGS = ("rgb444", "ycc422", "ycc420")
CELL_PX = 150  # the maker's cell, level-0 pixels
IMMUNE = 3  # the value of immune_cells in a tissue map
SWAP = "any:immune_cells:0.8"
NODULE = 0.15


@dataclass(frozen=True)
class Plan:
    """One slide to make."""

    map: int
    """Position of the tissue map in the maps file."""
    cells: str
    """ROWSxCOLS of 150-px cells."""
    encoding: str
    """How its JPEG tiles are coded."""
    seed: int
    """The seed of the maker; the two slides of a pair share map, size and seed."""
    planted: bool
    """True when the nodule is planted."""

    @property
    def name(self) -> str:
        """A name that says all of the plan."""
        return f"map{self.map:02d}_{self.cells}_{self.encoding}_s{self.seed}_{'planted' if self.planted else 'plain'}"

    def arguments(self) -> list[str]:
        """The maker's options for this slide."""
        options = ["--map", str(self.map), "--cells", self.cells, "--encoding", self.encoding, "--seed", str(self.seed)]
        return [*options, "--swap", SWAP, "--nodule", str(NODULE)] if self.planted else options


def pair(number: int, tissue_map: int, cells: str, seed: int) -> list[Plan]:
    """Plan a planted slide and its plain twin.

    Args:
        number: Position in the plan; it turns the encodings.
        tissue_map: Position of the map.
        cells: ROWSxCOLS.
        seed: The seed of both.

    Returns:
        The planted plan, then the plain one. Their encodings differ in turn, so that the encoding tells nothing.
    """
    return [
        Plan(tissue_map, cells, ENCODINGS[(number + shift) % len(ENCODINGS)], seed, planted)
        for shift, planted in ((0, True), (number % 2, False))
    ]


def immune_rich(maps: Path, count: int) -> list[int]:
    """Name the training maps with most immune cells: their plain slides are the hard negatives.

    Args:
        maps: The maps file.
        count: How many to name.

    Returns:
        Positions of maps, richest first.
    """
    with np.load(maps) as file:
        names = sorted(file.files)
        share = {i: float((file[names[i]] == IMMUNE).sum() / (file[names[i]] > 0).sum()) for i in TRAIN_MAPS}
    return sorted(share, key=lambda i: -share[i])[:count]


def training_plan(maps: Path) -> list[Plan]:
    """Plan the 120 training slides: a pair of mixed size a map, and a full-size pair of the 20 immune-richest maps.

    Args:
        maps: The maps file.

    Returns:
        The plans, in a fixed order.
    """
    rng = np.random.default_rng(20)
    plans: list[Plan] = []
    for i in TRAIN_MAPS:
        rows, cols = (int(n) for n in rng.integers(6, 21, 2) * 10)
        plans += pair(i, i, f"{rows}x{cols}", 1000 + i)
    for n, i in enumerate(immune_rich(maps, 20)):
        plans += pair(n, i, DEFAULT_CELLS, 2000 + i)
    return plans


def validation_plan() -> list[Plan]:
    """Plan the 16 slides that choose the epoch and the settings: a full-size pair a validation map.

    Returns:
        The plans, in a fixed order.
    """
    return [plan for n, i in enumerate(VALIDATION_MAPS) for plan in pair(n, i, DEFAULT_CELLS, 3000 + i)]


def proof_plan() -> list[Plan]:
    """Plan the 40 slides of the proof: 20 planted and 20 plain of default size, of maps and seeds of their own.

    Returns:
        The plans, in a fixed order.
    """
    maps = [*TEST_MAPS, *TEST_MAPS[:8]]
    return [plan for n, i in enumerate(maps) for plan in pair(n, i, DEFAULT_CELLS, 9000 + n)]


def make(plan: Plan, tools: Path, data: Path, folder: Path) -> Path:
    """Make one slide unless it is there.

    Args:
        plan: What to make.
        tools: The shared tools folder.
        data: The shared data folder.
        folder: Where the slide and its truth go.

    Returns:
        The path of the slide.
    """
    final = folder / f"{plan.name}.svs"
    if not final.exists():
        draft = folder / f"{plan.name}.part.svs"
        places = ["--maps", str(data / "tissue_maps.npz"), "--patches", str(data / "patches")]
        command = [sys.executable, str(tools / "make_slide.py"), str(draft), *plan.arguments(), *places]
        subprocess.run(command, check=True, capture_output=True)
        draft.with_suffix(".truth.npz").replace(final.with_suffix(".truth.npz"))
        draft.replace(final)
    return final


def discard(slides: Sequence[Path]) -> None:
    """Delete made slides, keeping their truth files.

    Args:
        slides: Paths given by `make`.
    """
    for slide in slides:
        slide.unlink(missing_ok=True)


def tile_shares(
    cells: NDArray[np.bool_], tissue: NDArray[np.bool_], coords: NDArray[np.int64], side: float
) -> NDArray[np.float64]:
    """Share of each tile's tissue cells that are marked.

    Args:
        cells: Marked cells [rows, cols].
        tissue: Cells with tissue [rows, cols].
        coords: Top-left corner of each tile [N, 2], level-0 pixels (x, y).
        side: Side of a tile in level-0 pixels.

    Returns:
        float64 [N], 0 where a tile has no tissue cell. A cell belongs to the tile that holds its centre.
    """
    first = np.ceil((coords / CELL_PX) - 0.5).astype(np.int64)
    last = np.ceil((coords + side) / CELL_PX - 0.5).astype(np.int64)
    marked, total = (_integral(grid, first, last) for grid in (cells & tissue, tissue))
    return np.asarray(marked / np.maximum(total, 1), np.float64)


def _integral(grid: NDArray[np.bool_], first: NDArray[np.int64], last: NDArray[np.int64]) -> NDArray[np.int64]:
    table = np.zeros((grid.shape[0] + 1, grid.shape[1] + 1), np.int64)
    table[1:, 1:] = grid.cumsum(0).cumsum(1)
    (x0, y0), (x1, y1) = (np.clip(edge, 0, np.array(grid.shape)[::-1]).T for edge in (first, last))
    return np.asarray(table[y1, x1] - table[y0, x1] - table[y1, x0] + table[y0, x0])


def disc(tissue: NDArray[np.bool_], seed: int) -> NDArray[np.bool_]:
    """Find the disc that the maker planted in, from the first number its generator draws.

    Args:
        tissue: Cells with tissue [rows, cols].
        seed: The slide's seed.

    Returns:
        The cells inside the disc, bool [rows, cols].
    """
    places = np.argwhere(tissue)
    y, x = places[np.random.default_rng(seed).integers(len(places))]
    rows, cols = np.ogrid[: tissue.shape[0], : tissue.shape[1]]
    return np.asarray((rows - y) ** 2 + (cols - x) ** 2 <= NODULE * tissue.size / np.pi)
