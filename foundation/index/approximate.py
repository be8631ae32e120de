"""An approximate index beside the exact one: faster, and it may miss a tile. What it names is scored exactly."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from foundation.errors import IndexStoreError, QueryError
from foundation.index.catalogue import APPROXIMATE, read_catalogue, write_catalogue
from foundation.index.faiss_ivf import FaissIvf
from foundation.index.growing import alone, sweep
from foundation.index.quantise import scores
from foundation.index.store import SearchIndex
from tiling.commit import read_manifest, staged, verify_manifest
from tiling.errors import StoreError
from tiling.fingerprint import fingerprint

KIND: Final = "oncoscope-approximate-index"
FORMAT: Final = 1
FILE: Final = "index.bin"
COVERED: Final = "covered.json"
OVER: Final = 4
"""Rows whose true scores are read, for each that is wanted."""


@runtime_checkable
class ApproximateIndex(Protocol):
    """What a library must do to stand behind the approximate search."""

    @staticmethod
    @abstractmethod
    def sample(count: int) -> NDArray[np.int64]:
        """Which rows it learns from.

        Args:
            count: All rows.

        Returns:
            Row numbers, ascending.
        """

    @classmethod
    @abstractmethod
    def build(cls, count: int, sample: NDArray[np.float32], blocks: Iterable[NDArray[np.float32]]) -> Self:
        """Build.

        Args:
            count: All rows.
            sample: The rows of `sample` [n, D].
            blocks: All rows in order [., D].

        Returns:
            The index.
        """

    @abstractmethod
    def search(self, vector: NDArray[np.float32], k: int, among: NDArray[np.bool_] | None) -> NDArray[np.int64]:
        """Rows that are probably the nearest.

        Args:
            vector: Of length 1 [D].
            k: How many.
            among: Which rows count [N]; None for all.

        Returns:
            Row numbers, at most k, in any order.
        """

    @abstractmethod
    def save(self, file: Path) -> None:
        """Write it.

        Args:
            file: A new file.
        """

    @classmethod
    @abstractmethod
    def load(cls, file: Path) -> Self:
        """Read it.

        Args:
            file: What `save` wrote; its checksum has been compared.

        Returns:
            The index.
        """


LIBRARIES: Final[dict[str, type[ApproximateIndex]]] = {"faiss": FaissIvf}
"""By the name of what they need."""


class Approximation:
    """The approximate index of an index, opened. Slides that came after it are searched exactly.

    Args:
        index: The index.

    Raises:
        QueryError: If it has none.
        IndexStoreError: If it is damaged.
    """

    def __init__(self, index: SearchIndex) -> None:
        if index.catalogue.approximate is None:
            raise QueryError("The index has no approximate one beside it; build it with oncoscope index --approximate.")
        name, digest = index.catalogue.approximate
        folder = index.path / APPROXIMATE / name
        try:
            manifest = read_manifest(folder)
            whole = not verify_manifest(folder) and manifest["self"] == digest
        except StoreError as error:
            raise IndexStoreError("The approximate index is damaged; build it anew.") from error
        if not whole:
            raise IndexStoreError("The approximate index is damaged; build it anew.")
        self._spans: dict[str, tuple[int, int]] = {}
        self._count = 0
        for segment, tiles in json.loads((folder / COVERED).read_text(encoding="utf-8")):
            self._spans[segment] = (self._count, tiles)
            self._count += tiles
        self._built = LIBRARIES[manifest["library"]].load(folder / FILE)

    def nearest(
        self, index: SearchIndex, vector: NDArray[np.float32], k: int, slides: Sequence[int]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], tuple[int, ...]]:
        """The probable best rows of the slides that it knows, with true scores.

        Args:
            index: The index, which may have changed since.
            vector: Of length 1 [D].
            k: How many.
            slides: Places in its entries.

        Returns:
            Row numbers and scores, the best first, and the slides that it does not know.
        """
        known = [slide for slide in slides if index.entries[slide].segment in self._spans]
        spans = [self._spans[index.entries[slide].segment] for slide in known]
        among = None
        if sum(tiles for _, tiles in spans) < self._count:
            among = np.zeros(self._count, np.bool_)
            for start, tiles in spans:
                among[start : start + tiles] = True
        found = self._built.search(vector, min(self._count, OVER * k), among) if known else np.empty(0, np.int64)
        rows = np.sort(_translated(found, spans, index.offsets[known]))
        truth = scores(index.rows(rows), vector)
        best = np.lexsort((rows, -truth))[:k]
        return rows[best], truth[best], tuple(sorted(set(slides) - set(known)))


def _translated(
    found: NDArray[np.int64], spans: Sequence[tuple[int, int]], offsets: NDArray[np.int64]
) -> NDArray[np.int64]:
    """From places in the approximate index to row numbers of the index as it is now."""
    starts = np.array([start for start, _ in spans], np.int64)
    order = np.argsort(starts)
    owner = order[np.searchsorted(starts[order], found, side="right") - 1] if len(found) else found
    return np.asarray(found - starts[owner] + offsets[owner], np.int64)


def approximate(path: Path, library: str = "faiss") -> None:
    """Build the approximate index of an index, in place of an earlier one.

    Args:
        path: The index.
        library: One of `LIBRARIES`.

    Raises:
        QueryError: If the index is empty.
    """
    with alone(path):
        catalogue = read_catalogue(path)
        index = SearchIndex.open(path)
        if not len(index):
            raise QueryError("The index holds no tiles, so nothing can be built over it.")
        covered = [(entry.segment, entry.tiles) for entry in catalogue.entries]
        name = fingerprint(kind=KIND, format=FORMAT, library=library, covered=[list(one) for one in covered])
        folder = path / APPROXIMATE / name
        with staged(folder, kind=KIND, fingerprint=name, library=library) as staging:
            kind = LIBRARIES[library]
            sample = index.rows(kind.sample(len(index))).astype(np.float32)
            kind.build(len(index), sample, _blocks(index)).save(staging / FILE)
            (staging / COVERED).write_text(json.dumps(covered), encoding="utf-8")
        write_catalogue(path, catalogue.changed(approximate=(name, read_manifest(folder)["self"])))
        sweep(path)


def _blocks(index: SearchIndex) -> Iterator[NDArray[np.float32]]:
    for segment in index.segments:
        for block in range(segment.blocks):
            yield segment.block("rows", block).astype(np.float32)
