"""Which zooms a head reads, and how tiles of several zooms stand in one array.

A tile of zoom s becomes one row: S numbers that say which zoom it is of (1 at s, else 0), then a block for each zoom,
of which only its own is filled. So a bag of several zooms is a bag like any other: every loop, store, fold and
explanation takes it, and a zoom that is absent simply has no rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from mil.bag import Bag
from mil.errors import BagError


@dataclass(frozen=True)
class Zoom:
    """One zoom as one encoder sees it."""

    mpp: float
    """Scale, um/px."""
    encoder: str
    """What made the features (key and weights digest)."""
    width: int
    """Width D of the features."""


@dataclass(frozen=True)
class ZoomPlan:
    """The zooms of a head, finest first.

    Raises:
        BagError: There is none, two are the same, or they do not stand finest first.
    """

    zooms: tuple[Zoom, ...]

    def __post_init__(self) -> None:
        scales = [zoom.mpp for zoom in self.zooms]
        if not scales or scales != sorted(scales) or len(set(self.zooms)) < len(scales):
            raise BagError("The zooms to fuse must be different ones, at least one, the finest first.")

    @property
    def encoder(self) -> str:
        """What made the features, all zooms as one word."""
        return "|".join(zoom.encoder for zoom in self.zooms)

    @property
    def mpp(self) -> tuple[float, ...]:
        """Scale of each zoom, um/px."""
        return tuple(zoom.mpp for zoom in self.zooms)

    @property
    def widths(self) -> str:
        """Widths of the zooms, as the setting `widths` of the head `zooms` wants them."""
        return ",".join(str(zoom.width) for zoom in self.zooms)

    @property
    def width(self) -> int:
        """Width of a row."""
        return len(self.zooms) + sum(zoom.width for zoom in self.zooms)

    def slot(self, bag: Bag) -> int:
        """Find the zoom that a bag is of.

        Args:
            bag: Of one zoom.

        Returns:
            Its position in `zooms`.

        Raises:
            BagError: It is none of them.
        """
        made = Zoom(bag.mpp[0] if bag.mpp else 0.0, bag.encoder, bag.features.shape[1])
        if len(bag.mpp) != 1 or made not in self.zooms:
            have = ", ".join(f"{zoom.mpp:g}" for zoom in self.zooms)
            raise BagError(f"A part was made by another encoder or at another zoom than those planned ({have} um/px).")
        return self.zooms.index(made)

    def rows(self, slot: int, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Write tiles of one zoom as rows.

        Args:
            slot: Which zoom.
            features: [n, D].

        Returns:
            [n, width].
        """
        first = blocks(tuple(zoom.width for zoom in self.zooms))[slot]
        found = np.zeros((len(features), self.width), np.float32)
        found[:, slot] = 1
        found[:, first] = features
        return found

    def zoom_of(self, rows: NDArray[np.float32]) -> NDArray[np.int64]:
        """Say which zoom each row is of.

        Args:
            rows: [N, width].

        Returns:
            Positions in `zooms`, int64 [N].
        """
        return np.asarray(rows[:, : len(self.zooms)].argmax(axis=1), np.int64)


def blocks(widths: tuple[int, ...]) -> tuple[slice, ...]:
    """Columns of each zoom in a row.

    Args:
        widths: Of the zooms.

    Returns:
        A slice a zoom.
    """
    ends = list(accumulate(widths, initial=len(widths)))
    return tuple(slice(start, end) for start, end in pairwise(ends))
