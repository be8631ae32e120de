"""Tiles of many slides read in pieces: no bag, however large, is held whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mil.cohort.cohort import Cohort
from mil.cohort.source import BagSource
from mil.errors import EmptyBagError

PIECE = 8192
"""Tiles read at a time: 50 MB at 1536 numbers a tile."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Some tiles of each case, and the mean over all of them."""

    tiles: NDArray[np.float32]
    """[M, D]."""
    owner: NDArray[np.int64]
    """Case of each tile [M], rising."""
    means: NDArray[np.float64]
    """Of each case, over all its tiles [cases, D]."""


def slide_pieces(source: BagSource, row: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Read a slide from front to back.

    Args:
        source: Where it is.
        row: Which slide.

    Yields:
        Index of the first tile of the piece, and its features [n, D].

    Raises:
        EmptyBagError: The slide has no tile; names its row.
    """
    size = int(source.sizes[row])
    if not size:
        raise EmptyBagError(f"Slide {row} has no tile.")
    for start in range(0, size, PIECE):
        tiles = None if size <= PIECE else np.arange(start, min(start + PIECE, size), dtype=np.int64)
        yield start, source.features(row, tiles)


def pieces(cohort: Cohort, case: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Read a case from front to back.

    Args:
        cohort: Its cohort.
        case: Which.

    Yields:
        Index of the first tile of the piece within the case, and its features [n, D].
    """
    before = 0
    for slide in cohort.cases[case].slides:
        for start, part in slide_pieces(cohort.source, slide):
            yield before + start, part
        before += int(cohort.source.sizes[slide])


def sample_tiles(cohort: Cohort, total: int, seed: int) -> Sample:
    """Draw tiles without replacement, as many of each case, and average all; each tile is read once.

    Args:
        cohort: Any.
        total: Tiles in all, about.
        seed: Of the draw; a case's draw depends on its place in the cohort alone.

    Returns:
        The sample.
    """
    share = max(total // max(len(cohort), 1), 1)
    tiles, owner, means = [], [], np.zeros((len(cohort), cohort.source.width))
    for case, size in enumerate(cohort.sizes().tolist()):
        chosen = np.sort(np.random.default_rng([seed, case]).permutation(size)[:share])
        for start, part in pieces(cohort, case):
            means[case] += part.sum(axis=0, dtype=np.float64) / size
            here = chosen[(chosen >= start) & (chosen < start + len(part))] - start
            tiles.append(part[here])
            owner += [case] * len(here)
    whole = np.concatenate(tiles) if tiles else np.zeros((0, cohort.source.width), np.float32)
    return Sample(whole, np.array(owner, np.int64), means)
