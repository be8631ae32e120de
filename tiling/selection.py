"""Which tiles of a slide are worth cutting: where tissue is, and how many of its tiles."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tiling.errors import MaskError, SpecError
from tiling.frame import Frame
from tiling.mask_geojson import read_mask
from tiling.tissue import Overview, TissueMask, TissueSpec, segment_overview

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from slides import SlideInfo
    from tiling.grid import TileGrid
    from tiling.segmenter import Segmenter

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


@dataclass(frozen=True, slots=True)
class Selection:
    """Where tiles are cut."""

    sampling: Sampling = Sampling()
    """All of them: a head decides better than a rule what matters."""
    tissue: TissueSpec = field(default_factory=TissueSpec)
    segmenter: Segmenter | None = None
    """What tells tissue from glass in place of the rule by absorbance."""
    outline: Path | None = None
    """A GeoJSON file of where tissue is, drawn or mended by hand; then nothing is segmented."""
    frame: Frame = "slide"
    """Where its coordinates count from; see `tiling.frame`."""

    def mask(self, seen: Overview, info: SlideInfo) -> TissueMask:
        """Where tissue is.

        Args:
            seen: The slide at the scale of the mask.
            info: The slide.

        Returns:
            The mask, on the overview's pixels.
        """
        if self.outline is not None:
            return read_mask(self.outline, info, seen.image.shape[:2], self.frame)
        return segment_overview(seen, info.require_mpp(), self.tissue, self.segmenter)

    def to_json(self) -> dict[str, Any]:
        """What of it determines which tiles are cut, for fingerprints.

        Returns:
            JSON values.
        """
        outline = None if self.outline is None else _digest(self.outline)
        segmenter = self.segmenter or self.tissue.segmenter
        return {
            "sampling": asdict(self.sampling),
            "tissue": asdict(self.tissue),
            "segmenter": [segmenter.name, segmenter.digest] if outline is None else None,
            "outline": outline,
            "frame": self.frame if outline else None,
        }


def _digest(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits.

    Raises:
        MaskError: If it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        msg = "the mask's file cannot be read"
        raise MaskError(msg) from error
