"""What rows are measured by: the cosine with a query, or the share of a tissue. Both as bounds first, then as truth."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from foundation.index.best import Truth
from foundation.index.quantise import scores
from foundation.index.segment import Segment
from foundation.index.store import SearchIndex
from tiling.pool import LocalPool

PART_VALUES = 1 << 17
"""Codes turned into float32 at once: 512 KB, which stays in the cache until it is multiplied."""
THREADS = 2
"""Blocks under way at a time. What they hold is 10 MB or so each."""

Bounds = tuple[NDArray[np.float64], NDArray[np.float64]]
"""What the true scores of a block are at least and at most, [T, n] each."""


@runtime_checkable
class Measure(Protocol):
    """T scores of every row."""

    @abstractmethod
    def bounds(self, segment: Segment, block: int) -> Bounds:
        """Look at one block of a segment.

        Args:
            segment: The segment.
            block: Which.

        Returns:
            The bounds.
        """

    @abstractmethod
    def truths(self) -> tuple[Truth, ...]:
        """Where true scores come from.

        Returns:
            T functions of row numbers.
        """


class Cosine(Measure):
    """The product with vectors of length 1: codes first, whose error is bounded as `quantise` says, then stored rows.

    Args:
        index: The index.
        vectors: Of length 1 [T, D].
    """

    def __init__(self, index: SearchIndex, vectors: NDArray[np.float32]) -> None:
        self._index = index
        self._vectors = np.ascontiguousarray(vectors)
        self._lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)[:, None] * (1 + 1e-9)

    def bounds(self, segment: Segment, block: int) -> Bounds:
        """Multiply the codes of a block.

        Args:
            segment: The segment.
            block: Which.

        Returns:
            The bounds.
        """
        codes, first = segment.block("codes", block), segment.block("first", block).astype(np.float64)
        product = np.empty((len(self._vectors), len(codes)), np.float32)
        wide = np.empty((max(16, PART_VALUES // segment.dim), segment.dim), np.float32)
        for begin in range(0, len(codes), len(wide)):
            part = codes[begin : begin + len(wide)]
            np.copyto(wide[: len(part)], part)
            for vector, out in zip(self._vectors, product, strict=True):
                np.dot(wide[: len(part)], vector, out=out[begin : begin + len(part)])
        middle, slack = product * first[:, 0], self._lengths * first[:, 1]
        return middle - slack, middle + slack

    def truths(self) -> tuple[Truth, ...]:
        """Where true scores come from.

        Returns:
            T functions of row numbers.
        """
        return tuple(lambda rows, vector=vector: scores(self._index.rows(rows), vector) for vector in self._vectors)


class Share(Measure):
    """The share of a tissue, as it is stored.

    Args:
        index: The index.
        tissue: Place in `TISSUES`.
    """

    def __init__(self, index: SearchIndex, tissue: int) -> None:
        self._index = index
        self._tissue = tissue

    def bounds(self, segment: Segment, block: int) -> Bounds:
        """Read the shares of a block: both bounds are the truth.

        Args:
            segment: The segment.
            block: Which.

        Returns:
            The bounds.
        """
        shares = segment.block("tissue", block)[None, :, self._tissue].astype(np.float64)
        return shares, shares

    def truths(self) -> tuple[Truth, ...]:
        """Where true scores come from.

        Returns:
            One function of row numbers.
        """
        return (lambda rows: self._index.values("tissue", rows)[:, self._tissue],)


def scan(index: SearchIndex, slides: Iterable[int], measure: Measure) -> Iterator[tuple[int, int, Bounds]]:
    """Look at every row of some slides, block by block, in bounded memory however many there are.

    Args:
        index: The index.
        slides: Places in its entries.
        measure: What to look for.

    Yields:
        Place of the slide, number of the block's first row, and the bounds.
    """
    blocks = ((slide, block) for slide in slides for block in range(index.segments[slide].blocks))

    def look(place: tuple[int, int]) -> tuple[int, int, Bounds]:
        slide, block = place
        segment = index.segments[slide]
        first = int(index.offsets[slide]) + block * segment.block_rows
        return slide, first, measure.bounds(segment, block)

    with LocalPool(THREADS) as pool:
        yield from pool.map(look, blocks)
