"""A few labelled regions beside the labels of slides: which tiles they are, and what each is worth in the loss.

A region is a row of a CSV table: slide, x, y (level-0 px), label, in the words of the task. Corrections that a
physician makes on a map are the same rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mil.cohort.cohort import Cohort
from mil.cohort.labels import read_labels
from mil.errors import CohortError, ExperimentError
from mil.tasks.decisions import Decisions
from mil.tasks.task import Task

COLUMNS = ("slide", "x", "y", "label")


@dataclass(frozen=True)
class RegionSpec:
    """How labelled regions are used."""

    file: str = ""
    """The table; "" for none."""
    tile: int = 1
    """Side of a tile, level-0 px: a region belongs to the tile that it lies in; at 1 it must be the tile's corner."""
    instance: float = 0.5
    """Weight of the loss of the annotated tiles themselves."""
    attention: float = 0.1
    """Weight of attention that passes by the tiles that show what the slide is labelled with."""
    negative: float = 0.1
    """Weight of tiles of negative slides that look positive; used where there is a lowest class (yes or no, grades)."""
    share: float = 0.25
    """At most this share of the drawn tiles of a case are annotated, so that a bag still looks like one."""

    def __post_init__(self) -> None:
        """Refuse values that mean nothing.

        Raises:
            ExperimentError: A weight is negative, a tile has no side, or the share is none.
        """
        if min(self.instance, self.attention, self.negative) < 0 or self.tile < 1 or not 0 < self.share < 1:
            raise ExperimentError("Regions need weights of 0 or more, a tile of 1 px or more and a share from 0 to 1.")


@dataclass(frozen=True, eq=False)
class Marks:
    """Annotated tiles of one case."""

    tiles: NDArray[np.int64]
    """Their numbers in the case, ascending [A]."""
    targets: NDArray[np.float32]
    """What they are labelled with [A, T]."""


@dataclass(frozen=True, eq=False)
class Regions:
    """Rows of the table."""

    slides: tuple[str, ...]
    places: NDArray[np.int64]
    """Level-0 px [R, 2]."""
    labels: tuple[str, ...]


def read_regions(path: Path) -> Regions:
    """Read a table of regions.

    Args:
        path: A CSV file with the columns slide, x, y and label; others, such as who said so, are left alone.

    Returns:
        Its rows.

    Raises:
        CohortError: A row is not whole; names it.
    """
    table = read_labels(path)
    table.require(COLUMNS)
    slides, xs, ys, labels = (table.columns[name] for name in COLUMNS)
    for number, row in enumerate(zip(slides, xs, ys, labels, strict=True), 1):
        if not all(row) or not all(text.isdecimal() and len(text) < 16 for text in row[1:3]):
            raise CohortError(f"Row {number} of the table of regions needs a slide, two whole numbers and a label.")
    places = np.array([[int(x), int(y)] for x, y in zip(xs, ys, strict=True)], np.int64)
    return Regions(slides, places, labels)


def join_regions(regions: Regions, cohort: Cohort, task: Task, tile: int = 1) -> tuple[Marks | None, ...]:
    """Find the tiles that regions lie in.

    Args:
        regions: The table.
        cohort: Cases; regions of slides that are in none of them are left out.
        task: Must decide between classes by one column; its words are those of the labels.
        tile: Side of a tile, level-0 px.

    Returns:
        The annotated tiles of each case, None where it has none [cases].

    Raises:
        ExperimentError: The task is another one.
        CohortError: A slide has no bag, no tile is there, or two regions lie in one tile; names the row.
    """
    if not isinstance(task, Decisions) or len(task.columns) != 1:
        raise ExperimentError("Labelled regions need a task that decides between classes by one column.")
    targets = task.targets({task.columns[0]: regions.labels})
    known = {name: row for row, name in enumerate(cohort.source.ids)}
    starts = _starts(cohort)
    found: dict[int, dict[int, int]] = {}
    for number, slide in enumerate(regions.slides):
        if slide not in known:
            raise CohortError(f"Row {number + 1} of the table of regions is of a slide that has no bag.")
        if known[slide] in starts:
            case, start = starts[known[slide]]
            inside = _inside(cohort.source.coords(known[slide]), regions.places[number], tile)
            if inside is None or found.setdefault(case, {}).setdefault(start + inside, number) != number:
                where = "in no tile of its slide" if inside is None else "in the tile of an earlier row"
                raise CohortError(f"Row {number + 1} of the table of regions lies {where}.")
    return tuple(_marks(found[case], targets) if case in found else None for case in range(len(cohort)))


def _inside(corners: NDArray[np.int64], place: NDArray[np.int64], tile: int) -> int | None:
    """The first tile that a place lies in."""
    inside = np.flatnonzero(((corners <= place) & (place < corners + tile)).all(axis=1))
    return int(inside[0]) if inside.size else None


def _starts(cohort: Cohort) -> dict[int, tuple[int, int]]:
    """Row of the source -> its case, and where its tiles begin in that."""
    starts: dict[int, tuple[int, int]] = {}
    for index, case in enumerate(cohort.cases):
        start = 0
        for slide in case.slides:
            starts[slide] = (index, start)
            start += int(cohort.source.sizes[slide])
    return starts


def _marks(own: Mapping[int, int], targets: NDArray[np.float32]) -> Marks:
    tiles = sorted(own)
    return Marks(np.array(tiles, np.int64), targets[[own[tile] for tile in tiles]])
