"""What an explanation is: the map, the method, how far to believe it, and its most telling tiles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mil.why.faithfulness import Faithfulness
from mil.why.methods import LABELS

SHOWN = 5
"""Tiles at each end of the map that a report shows."""
NOTICE = "Research use only. Not for diagnosis."


@dataclass(frozen=True)
class Telling:
    """A tile at one end of the map."""

    tile: int
    """Its row in the bag."""
    x: int
    """Left edge, level-0 pixels."""
    y: int
    """Top edge, level-0 pixels."""
    value: float


@dataclass(frozen=True, eq=False)
class Explanation:
    """What each tile of a slide did for one output."""

    values: NDArray[np.float32]
    """[N], in the order of the bag; larger for what speaks for a higher score. The mean over members of an ensemble."""
    method: str
    """A name in `mil.why.methods.METHODS`."""
    logit: float
    """The score that is explained; the mean over members."""
    faithfulness: Faithfulness
    """Of `values`, for that score."""
    coords: NDArray[np.int64]
    """Top-left corner of each tile [N, 2], level-0 pixels (x, y)."""
    gap: float | None = None
    """How far the values are from summing to what the method promises, logits; the worst member's; None where it
    promises nothing."""
    sd: NDArray[np.float32] | None = None
    """Standard deviation over members [N]; None for one."""

    @property
    def label(self) -> str:
        """What the values are, for a legend."""
        return LABELS[self.method]

    @property
    def top(self) -> tuple[Telling, ...]:
        """Tiles of the highest values, the highest first."""
        return self._ends(np.argsort(-self.values, kind="stable"))

    @property
    def bottom(self) -> tuple[Telling, ...]:
        """Tiles of the lowest values, the lowest first."""
        return self._ends(np.argsort(self.values, kind="stable"))

    def _ends(self, order: NDArray[np.int64]) -> tuple[Telling, ...]:
        first = order[:SHOWN]
        columns = (first, *self.coords[first].T, self.values[first])
        return tuple(Telling(*row) for row in zip(*(column.tolist() for column in columns), strict=True))

    def to_json(self) -> dict[str, object]:
        """A JSON document without the map itself, which belongs into a picture or an array file.

        Returns:
            Method, logit, gap, faithfulness with curves, and the most telling tiles.
        """
        return {
            "notice": NOTICE,
            "method": self.method,
            "label": self.label,
            "logit": self.logit,
            "gap": self.gap,
            "faithfulness": self.faithfulness.to_json(),
            "top": [vars(tile) for tile in self.top],
            "bottom": [vars(tile) for tile in self.bottom],
            "mean_sd": None if self.sd is None else float(self.sd.mean()),
        }
