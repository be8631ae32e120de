"""All that is decided of a tile store before a pixel is cut, and the name that follows from it."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from slides.identity import recalled
from tiling import layout, quality
from tiling.artefacts import QualityMap, artefacts
from tiling.band import CutTask, TileMeasure
from tiling.cut import bands, families, snapped, source_of
from tiling.errors import MaskError
from tiling.fingerprint import fingerprint
from tiling.grid import TileGrid
from tiling.jpeg_codec import DEFAULT_QUALITY
from tiling.plan import plan
from tiling.quality import slide_quality
from tiling.selection import Selection
from tiling.shard import Keep
from tiling.spec import TileSpec
from tiling.staging import Staging
from tiling.tissue import TissueMask, overview

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from slides import Address, Slide, SlideInfo


@dataclass(frozen=True, eq=False)
class Plan:
    """All that is decided before a pixel is cut."""

    address: Address
    info: SlideInfo
    name: str
    """The store's fingerprint."""
    keep: Keep
    mask: TissueMask
    artefacts: QualityMap
    grids: tuple[TileGrid, ...]
    decode: dict[str, str]
    """How pixels of each zoom are made: `full`, or `dct-1/2` for scaled decoding, then area average or linear."""

    @property
    def digest(self) -> str:
        """What the parts of the work depend on, so that parts of another plan are not taken for this one's."""
        arrays: list[NDArray[Any]] = [self.mask.array, self.artefacts.array]
        arrays += [array for grid in self.grids for array in (grid.cells, grid.tissue)]
        parts = [hashlib.sha256(array.tobytes()).hexdigest() for array in arrays]
        return fingerprint(name=self.name, parts=parts, snap=[grid.snap for grid in self.grids])

    def lay_out(self, folder: Path) -> None:
        """Write what is known before a pixel is cut.

        Args:
            folder: An empty folder.
        """
        about = {"keep": self.keep, "quality": DEFAULT_QUALITY}
        origin = {"slide": self.info.content_hash, "tiles": self.name, "reader": self.info.reader}
        provenance = {**origin, "mpp_source": self.info.mpp_source, "icc": self.info.icc, "decode": self.decode}
        found = slide_quality(self.mask, self.artefacts, self.info.require_mpp())
        layout.create(folder, self.info, self.grids, self.mask, {**about, "found": found, "provenance": provenance})
        for grid in self.grids:
            left, top = grid.coords.T
            rows = self.artefacts.shares(left, top, grid.extent)
            layout.add_rows(folder, grid.mpp, "artefacts", rows, self.artefacts.names)

    def tasks(self, staging: Staging, measure: TileMeasure | None) -> list[CutTask]:
        """What workers have to do.

        Args:
            staging: Where they write.
            measure: What they compute of every tile besides its quality.

        Returns:
            A task for each band.
        """
        known = tuple((where, found) for where, found in recalled().items() if found == self.info.content_hash)
        return [
            CutTask(
                address=self.address,
                root=staging.root,
                zooms=tuple(grid.mpp for grid in family),
                name=f"{family[0].mpp:g}-{number:06d}",
                blocks=band,
                keep=self.keep,
                measure=measure,
                expected=self.info,
                known=known,
            )
            for family in families(self.grids)
            for number, band in enumerate(bands(family))
        ]


def planned_for(slide: Slide, address: Address, specs: Sequence[TileSpec], about: tuple[str, Keep, Selection]) -> Plan:
    """Decide all that is decided before a pixel is cut.

    Args:
        slide: The open slide.
        address: Where it is, with its scale.
        specs: One for each zoom.
        about: The store's fingerprint, how pixels are kept, and which tiles.

    Returns:
        The plan.

    Raises:
        MaskError: If a mask that was drawn changed since the store was named after it.
    """
    name, keep, selection = about
    seen = overview(slide, selection.tissue)
    mask = selection.mask(seen, slide.info)
    if stage_fingerprint(slide.info, specs, keep, selection) != name:
        msg = "the mask's file changed while it was read"
        raise MaskError(msg)
    grids = snapped(slide, plan(slide.info, specs, mask, selection.sampling))
    return Plan(
        address=address,
        info=slide.info,
        name=name,
        keep=keep,
        mask=mask,
        artefacts=artefacts(seen.image, mask, seen.mpp),
        grids=grids,
        decode={f"{family[0].mpp:g}": source_of(slide, family[0]).decode for family in families(grids)},
    )


def stage_fingerprint(info: SlideInfo, specs: Sequence[TileSpec], keep: str, selection: Selection | None = None) -> str:
    """The name of a tile store: what it is made of.

    Args:
        info: The slide.
        specs: One for each zoom.
        keep: How pixels are kept.
        selection: Which tiles; all on tissue where None.

    Returns:
        64 hex digits.
    """
    mpp0 = info.require_mpp()
    return fingerprint(
        kind=layout.KIND,
        format=layout.FORMAT,
        rules=quality.RULES_VERSION,
        slide=info.content_hash,
        reader=info.reader,
        decode=info.decode,
        icc=info.icc,
        mpp0=[mpp0.x, mpp0.y],
        specs=sorted((asdict(spec) for spec in specs), key=lambda spec: float(spec["mpp"])),
        selection=(selection or Selection()).to_json(),
        keep=keep,
        quality=DEFAULT_QUALITY if keep == "jpeg" else None,
    )
