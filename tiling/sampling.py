"""How many tiles of a slide are cut, and which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from tiling.errors import SpecError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tiling.grid import TileGrid

UM_PER_MM = 1000


@dataclass(frozen=True, slots=True)
class Sampling:
    """How many tiles of the finest zoom are kept; coarser zooms keep the tiles above them.

    Raises:
        SpecError: If nothing would be left.
    """

    kind: Literal["all", "top", "stratified"] = "all"
    """`top`: those with the largest share of tissue; `stratified`: as many from each square of the slide."""
    tiles: int = 0
    """How many, where not all."""
    square_mm: float = 2.0
    """Side of a square: pieces of tissue are some millimetres apart."""

    def __post_init__(self) -> None:
        """Refuse to keep nothing.

        Raises:
            SpecError: If nothing would be left.
        """
        if self.kind not in {"all", "top", "stratified"} or (self.tiles < 1 if self.kind != "all" else self.tiles):
            msg = "tiles are sampled as all, top:N or stratified:N with N of at least 1"
            raise SpecError(msg)

    def choose(self, grid: TileGrid) -> NDArray[np.int64]:
        """Choose tiles; the same ones every time.

        Args:
            grid: The finest zoom.

        Returns:
            Their indices, ascending.
        """
        if self.kind == "all" or len(grid) <= self.tiles:
            return np.arange(len(grid))
        order = np.argsort(-grid.tissue, kind="stable") if self.kind == "top" else self._in_turn(grid)
        return np.sort(order[: self.tiles])

    def _in_turn(self, grid: TileGrid) -> NDArray[np.int64]:
        """All tiles in an order that takes one of every square in turn."""
        places = grid.cells * (grid.spec.stride * grid.mpp) // (self.square_mm * UM_PER_MM)
        square = np.unique(places, axis=0, return_inverse=True)[1]
        luck = np.random.default_rng(0).permutation(len(grid))
        turn = np.empty(len(grid), np.int64)
        for each in range(int(square.max()) + 1):
            members = np.flatnonzero(square == each)
            turn[members[np.argsort(luck[members])]] = np.arange(len(members))
        return np.lexsort((luck, turn))
