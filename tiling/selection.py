"""Which tiles of a slide are worth cutting: where tissue is, and how many of its tiles."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from tiling.errors import MaskError
from tiling.frame import Frame
from tiling.mask_geojson import read_mask
from tiling.sampling import Sampling
from tiling.tissue import Overview, TissueMask, TissueSpec, segment_overview

if TYPE_CHECKING:
    from pathlib import Path

    from slides import SlideInfo
    from tiling.segmenter import Segmenter


@dataclass(frozen=True, slots=True)
class Selection:
    """Where tiles are cut."""

    sampling: Sampling = field(default_factory=Sampling)
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
