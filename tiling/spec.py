"""How one zoom is tiled."""

from __future__ import annotations

from dataclasses import dataclass

from slides import Mpp
from tiling.errors import SpecError

SMALLEST_PX, LARGEST_PX = 16, 4096


@dataclass(frozen=True, slots=True)
class TileSpec:
    """How to tile one zoom.

    Raises:
        SpecError: If a value cannot be met.
    """

    mpp: float
    """Scale of the tiles in micrometres per pixel."""
    px: int = 224
    """Side of a tile in pixels; 224 is what most pathology encoders take."""
    overlap: int = 0
    """Pixels that neighbours share."""
    min_tissue: float = 0.25
    """Least share of tissue of a tile that is kept; a quarter keeps the invasive edge and drops empty glass."""

    def __post_init__(self) -> None:
        """Refuse what cannot be cut.

        Raises:
            SpecError: If a value cannot be met.
        """
        object.__setattr__(self, "mpp", float(self.mpp))  # 1 and 1.0 are one scale, and one fingerprint
        Mpp.square(self.mpp)
        if not SMALLEST_PX <= self.px <= LARGEST_PX:
            msg = f"a tile side of {self.px} px is outside of {SMALLEST_PX} to {LARGEST_PX}"
            raise SpecError(msg)
        if not 0 <= self.overlap < self.px:
            msg = f"an overlap of {self.overlap} px does not fit tiles of {self.px} px"
            raise SpecError(msg)
        if not 0 <= self.min_tissue <= 1:
            msg = f"the least tissue share must lie between 0 and 1, not {self.min_tissue}"
            raise SpecError(msg)

    @property
    def stride(self) -> int:
        """Pixels from one tile to the next."""
        return self.px - self.overlap
