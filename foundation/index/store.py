"""An index for reading: which segments it has, rows by their numbers, and whether all is whole."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from foundation.errors import IndexStoreError, QueryError
from foundation.index.catalogue import APPROXIMATE, NAME, SEGMENTS, Catalogue, Entry, read_catalogue
from foundation.index.segment import Segment, shape_of
from tiling.commit import read_manifest, verify_manifest
from tiling.errors import StoreError

Where = Mapping[str, Collection[str]]
"""Column -> values of which a slide must have one."""
SLIDE = "slide"
"""The column that every index has: pseudonyms."""


class SearchIndex:
    """A search index, opened for reading: what it held at that moment.

    Rows are numbered through all slides in the order of the catalogue.

    Args:
        path: Its folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.catalogue: Catalogue = read_catalogue(path)
        entries = self.catalogue.entries
        self.offsets: NDArray[np.int64] = np.cumsum([0, *(entry.tiles for entry in entries)], dtype=np.int64)
        """Number of the first row of each slide, and of all rows at the end."""
        self.segments = tuple(
            Segment(path / SEGMENTS / entry.segment, entry.tiles, self.catalogue.dim) for entry in entries
        )

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open an index.

        Args:
            path: Its folder.

        Returns:
            The index.
        """
        return cls(path)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The slides."""
        return self.catalogue.entries

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that slides can be chosen by."""
        return (SLIDE, *sorted({name for entry in self.entries for name in entry.columns}))

    def __len__(self) -> int:
        return int(self.offsets[-1])

    def select(self, where: Where | None = None, without: Collection[str] = ()) -> tuple[int, ...]:
        """Slides by what the cohort's table says of them.

        Args:
            where: Columns and the values of which one must be there; all must fit.
            without: Pseudonyms to leave out.

        Returns:
            Places in `entries`.

        Raises:
            QueryError: If there is no such column, no slide at all, or nothing fits.
        """
        wanted = where or {}
        unknown = sorted(set(wanted) - set(self.columns))
        if unknown:
            known = ", ".join(repr(name) for name in self.columns)
            raise QueryError(f"The index has no column {unknown[0][:80]!r}; it has {known}.")
        found = tuple(
            number
            for number, entry in enumerate(self.entries)
            if entry.slide not in without and all(_cell(entry, name) in values for name, values in wanted.items())
        )
        if not self.entries:
            raise QueryError("The index holds no slides.")
        if not found:
            raise QueryError("No slide of the index fits the filter.")
        return found

    def number_of(self, slide: str) -> int:
        """The place of a slide.

        Args:
            slide: Its pseudonym.

        Returns:
            Place in `entries`.

        Raises:
            QueryError: If it is not in the index.
        """
        for number, entry in enumerate(self.entries):
            if entry.slide == slide:
                return number
        raise QueryError(f"The index has no slide {slide[:80]!r}.")

    def by_segment(self, rows: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
        """Take rows apart by slide.

        Args:
            rows: Row numbers [n], ascending.

        Yields:
            Place of the slide, places in `rows` [m], and rows inside the segment [m].
        """
        owners = np.searchsorted(self.offsets, rows, side="right") - 1
        for number in np.unique(owners):
            places = np.flatnonzero(owners == number)
            yield int(number), places, rows[places] - self.offsets[number]

    def rows(self, rows: NDArray[np.int64]) -> NDArray[np.float16]:
        """Stored rows, checked.

        Args:
            rows: Row numbers [n], in any order.

        Returns:
            [n, D].
        """
        return self._gather("rows", rows)

    def values(self, name: str, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Another array of the tiles.

        Args:
            name: `coords` or `tissue`.
            rows: Row numbers [n], in any order.

        Returns:
            [n, W].
        """
        return self._gather(name, rows)

    def _gather(self, name: str, rows: NDArray[np.int64]) -> NDArray[Any]:
        kind, width = shape_of(name, self.catalogue.dim)
        order = np.argsort(rows, kind="stable")
        found = np.empty((len(rows), width), kind)
        for number, places, inside in self.by_segment(rows[order]):
            segment = self.segments[number]
            found[order[places]] = segment.rows(inside) if name == "rows" else segment.take(name, inside)
        return found


def _cell(entry: Entry, column: str) -> str | None:
    return entry.slide if column == SLIDE else entry.columns.get(column)


def verify_index(path: Path) -> list[str]:
    """Read every byte of an index and compare with its checksums.

    Args:
        path: The index.

    Returns:
        Names of files that are missing, altered or of nobody; the catalogue alone if that is damaged.
    """
    try:
        catalogue = read_catalogue(path)
    except IndexStoreError:
        return [NAME]
    folders = {f"{SEGMENTS}/{entry.segment}": entry.manifest for entry in catalogue.entries}
    if catalogue.approximate:
        name, digest = catalogue.approximate
        folders[f"{APPROXIMATE}/{name}"] = digest
    return [f"{folder}/{name}" for folder, digest in folders.items() for name in _damaged(path / folder, digest)]


def _damaged(folder: Path, digest: str) -> Sequence[str]:
    try:
        damaged = verify_manifest(folder)
        known = bool(damaged) or read_manifest(folder)["self"] == digest
    except StoreError:
        return ["manifest.json"]
    return damaged if known else ["manifest.json"]
