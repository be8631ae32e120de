"""A source around a source: says what the other says, but for what a subclass says itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mil.cohort.source import BagSource


class Around:
    """All of `BagSource` by asking the other.

    Args:
        source: The other.
    """

    def __init__(self, source: BagSource) -> None:
        self.source = source

    @property
    def ids(self) -> tuple[str, ...]:
        """Those of the source."""
        return self.source.ids

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Those of the source."""
        return self.source.sizes

    @property
    def width(self) -> int:
        """That of the source."""
        return self.source.width

    @property
    def encoder(self) -> str:
        """That of the source."""
        return self.source.encoder

    @property
    def mpp(self) -> tuple[float, ...]:
        """Those of the source."""
        return self.source.mpp

    @property
    def fingerprint(self) -> str:
        """That of the source."""
        return self.source.fingerprint

    def features(self, row: int, tiles: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """Read tiles of a slide.

        Args:
            row: Which slide.
            tiles: Which of its tiles, ascending; all if None.

        Returns:
            float32 [n, D].
        """
        return self.source.features(row, tiles)

    def coords(self, row: int) -> NDArray[np.int64]:
        """Where the tiles are.

        Args:
            row: Which slide.

        Returns:
            [N, 2], as the source says.
        """
        return self.source.coords(row)
