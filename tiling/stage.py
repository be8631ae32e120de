"""The tiling stage: a slide's address and specs in, a committed tile store out."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slides import Address, SlideError, SlideInfo, open_slide
from slides.identity import recalled
from tiling import layout, quality
from tiling.artefacts import QualityMap, artefacts
from tiling.band import MEASURED, QUALITY, CutTask, TileMeasure, cut_band, rows_of
from tiling.commit import is_committed
from tiling.cut import bands, families, ratios_of, snapped
from tiling.errors import SpecError
from tiling.fingerprint import fingerprint
from tiling.grid import TileGrid, TileSpec
from tiling.jpeg_codec import DEFAULT_QUALITY
from tiling.members import below
from tiling.plan import plan
from tiling.pool import LocalPool, Pool
from tiling.publish import published
from tiling.quality import slide_quality
from tiling.selection import Selection
from tiling.shard import Keep
from tiling.staging import Staging, discard, finish, resumable
from tiling.store import TileStore
from tiling.tissue import TissueMask, overview

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from slides import Slide

    Progress = Callable[[int, int], None]

DEFAULT_ZOOMS = (0.5, 1.0, 2.0)
"""Cell, structure and tissue scale in micrometres per pixel."""


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
        ratios = {
            f"{grid.mpp:g}": ratio
            for family in families(self.grids)
            for grid, ratio in zip(family, ratios_of(family), strict=True)
        }
        about = {"keep": self.keep, "quality": DEFAULT_QUALITY, "ratios": ratios}
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
                known=known,
            )
            for family in families(self.grids)
            for number, band in enumerate(bands(family))
        ]


def tile(
    address: Address | str | Path,
    specs: Sequence[TileSpec],
    out: Path | str,
    *,
    pool: Pool | None = None,
    keep: Keep = "jpeg",
    progress: Progress | None = None,
    selection: Selection | None = None,
    scratch: Path | None = None,
) -> TileStore:
    """Tile a slide at several zooms into one Zarr store; an earlier whole store of the same slide and specs is reused.

    A run that is broken off leaves its finished bands behind, and the next one goes on from there. Of two runs at once
    the second waits for the first.

    Args:
        address: The slide.
        specs: One for each zoom.
        out: Folder or `s3://bucket/prefix` address for stores.
        pool: Where bands are cut; threads of this process where None.
        keep: Keep pixels as JPEG, raw, or not at all (they are then cut again when needed).
        progress: Called with tiles done and tiles in all.
        selection: Which tiles; all on tissue where None.
        scratch: Folder of this machine, and of the pool's, for what goes to object storage; as `published` has it.

    Returns:
        The committed store, at `out/<fingerprint>.tiles.zarr`.
    """
    how: Any = {"pool": pool, "keep": keep, "progress": progress, "selection": selection, "scratch": scratch}
    return tile_and_measure(address, specs, out, None, **how)[0]


def tile_and_measure(
    address: Address | str | Path,
    specs: Sequence[TileSpec],
    out: Path | str,
    measure: TileMeasure | None,
    *,
    pool: Pool | None = None,
    keep: Keep = "no",
    progress: Progress | None = None,
    selection: Selection | None = None,
    scratch: Path | None = None,
) -> tuple[TileStore, dict[float, NDArray[Any]] | None]:
    """Tile a slide and compute something of every tile in the same pass, such as its embedding.

    Args:
        address: The slide.
        specs: One for each zoom.
        out: Folder or `s3://bucket/prefix` address for stores.
        measure: What to compute; it sees the pixels that the store gives out.
        pool: Where bands are cut; threads of this process where None.
        keep: As `tile` has it, but not `jpeg`, whose pixels differ from those at hand.
        progress: Called with tiles done and tiles in all.
        selection: Which tiles; all on tissue where None.
        scratch: As `tile` has it.

    Returns:
        The store; rows by scale [N, k], or None where the store was there already.

    Raises:
        SpecError: If `keep` is none of the three, or `jpeg` with a measure.
    """
    if measure is not None and keep == "jpeg":
        msg = "tiles kept as jpeg are measured from the store, not while they are cut"
        raise SpecError(msg)
    if keep not in {"jpeg", "raw", "no"}:
        msg = f"tiles can be kept as jpeg, raw or no, not {keep!r}"
        raise SpecError(msg)
    address, rows = Address.of(address), None
    with open_slide(address) as slide:
        name = stage_fingerprint(slide.info, specs, keep, selection)
        final = below(out, f"{name}.tiles.zarr")
        if not is_committed(final):
            address = replace(address, mpp0=slide.info.require_mpp())
            planned = _planned(slide, address, specs, (name, keep, selection or Selection()))
            rows = published(final, lambda folder: _run(planned, folder, (measure, pool), progress), scratch)
    return TileStore(final), rows


def _planned(slide: Slide, address: Address, specs: Sequence[TileSpec], about: tuple[str, Keep, Selection]) -> Plan:
    name, keep, selection = about
    seen = overview(slide, selection.tissue)
    mask = selection.mask(seen, slide.info)
    grids = snapped(slide, plan(slide.info, specs, mask, selection.sampling))
    sources = {f"{f[0].mpp:g}": slide.source_for(min(f[0].side) / f[0].spec.px) for f in families(grids)}
    return Plan(
        address=address,
        info=slide.info,
        name=name,
        keep=keep,
        mask=mask,
        artefacts=artefacts(seen.image, mask, seen.mpp),
        grids=grids,
        decode={zoom: source.decode for zoom, source in sources.items()},
    )


def _run(
    planned: Plan, final: Path, how: tuple[TileMeasure | None, Pool | None], progress: Progress | None
) -> dict[float, NDArray[Any]] | None:
    """Cut what no earlier run did, and commit.

    Raises:
        SlideError: If the slide turns out to be broken.
    """
    measure, pool = how
    with resumable(final, fingerprint(plan=planned.digest, measure=measure and measure.digest)) as staging:
        if is_committed(final):  # by the run that this one waited for
            discard(staging)
            return None
        staging.prepare(planned.lay_out)
        tasks = planned.tasks(staging, measure)
        total = sum(len(grid) for grid in planned.grids)
        done = 0
        try:
            for count in _mapped(pool, tasks):
                done += count
                if progress is not None:
                    progress(done, total)
        except SlideError:
            discard(staging)  # the slide is broken: no later run will do better
            raise
        names = [task.name for task in tasks]
        rows = rows_of(staging, names, planned.grids, MEASURED)
        _finish(planned, staging, names, final)
    return rows if measure is not None else None


def _mapped(pool: Pool | None, tasks: Sequence[CutTask]) -> Iterator[int]:
    if pool is not None:
        yield from pool.map(cut_band, tasks)
        return
    with LocalPool() as own:
        yield from own.map(cut_band, tasks)


def _finish(planned: Plan, staging: Staging, names: Sequence[str], final: Path) -> None:
    """Put the rows of all bands together and commit."""
    members: dict[str, Any] = {}
    for name in names:
        members |= staging.rows(name)[1]
    for mpp, rows in rows_of(staging, names, planned.grids, QUALITY).items():
        layout.add_rows(staging.store, mpp, QUALITY, rows, quality.TILE_MEASURES)
    finish(staging, final, members, kind=layout.KIND, fingerprint=planned.name)


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
