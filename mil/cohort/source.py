"""Where bags come from: read one at a time, so that a cohort need not fit into memory."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@runtime_checkable
class BagSource(Protocol):
    """The tiles of many slides, on disk."""

    @property
    def ids(self) -> tuple[str, ...]:
        """One pseudonym a slide, all different."""

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Number of tiles of each slide [slides]."""

    @property
    def width(self) -> int:
        """Width D of the features."""

    @property
    def encoder(self) -> str:
        """What made the features (key and weights digest); "" where the file does not say."""

    @property
    def mpp(self) -> tuple[float, ...]:
        """The zooms, finest first, um/px; () where the file does not say."""

    @property
    def fingerprint(self) -> str:
        """sha256 of what is in it, hex."""

    def features(self, row: int, tiles: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """Read the tiles of a slide.

        Args:
            row: Which slide.
            tiles: Which of its tiles, ascending; all if None.

        Returns:
            float32 [n, D], finite; a tile that is not ends in a `BagError` that names slide row and tile.
        """

    def coords(self, row: int) -> NDArray[np.int64]:
        """Where the tiles are.

        Args:
            row: Which slide.

        Returns:
            Top-left corners [N, 2], level-0 pixels; (i, 0) for tile i where the file does not say.
        """
