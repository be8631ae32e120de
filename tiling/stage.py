"""The tiling stage: a slide's address and specs in, a committed tile store out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slides import Address, DamagedSlideError, open_slide
from tiling import layout, quality
from tiling.band import MEASURED, QUALITY, CutTask, TileMeasure, cut_band, gathered
from tiling.blueprint import Plan, planned_for, stage_fingerprint
from tiling.commit import is_committed
from tiling.errors import DamagedStoreError, SpecError
from tiling.fingerprint import fingerprint, software
from tiling.homes import shard_names
from tiling.members import below
from tiling.pool import ANYWHERE, LocalPool, Needs, Pool
from tiling.publish import published
from tiling.selection import Selection
from tiling.shard import Keep
from tiling.spec import TileSpec
from tiling.staging import Staging, discard, finish, resumable, sweep
from tiling.store import TileStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    Progress = Callable[[int, int], None]

DEFAULT_ZOOMS = (0.5, 1.0, 2.0)
"""Cell, structure and tissue scale in micrometres per pixel."""


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
    needs: Needs = ANYWHERE,
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
        needs: What a worker must have to compute it.

    Returns:
        The store; rows by scale [N, k], or None where the store was there already.
    """
    _require_keepable(keep, measure)
    address, rows, selection = Address.of(address), None, selection or Selection()
    with open_slide(address) as slide:
        name = stage_fingerprint(slide.info, specs, keep, selection)
        final = below(out if isinstance(out, str) else out.absolute(), f"{name}.tiles.zarr")
        if is_committed(final):
            if isinstance(final, Path):
                sweep(final)
        else:
            address = replace(address, mpp0=slide.info.require_mpp())
            planned = planned_for(slide, address, specs, (name, keep, selection))
            rows = published(final, lambda folder: _run(planned, folder, (measure, pool, needs), progress), scratch)
    return TileStore(final), rows


def _require_keepable(keep: str, measure: TileMeasure | None) -> None:
    """Refuse what cannot be kept.

    Raises:
        SpecError: If `keep` is none of the three, or `jpeg` with a measure.
    """
    if keep not in {"jpeg", "raw", "no"}:
        msg = f"tiles can be kept as jpeg, raw or no, not {keep!r}"
        raise SpecError(msg)
    if measure is not None and keep == "jpeg":
        msg = "tiles kept as jpeg are measured from the store, not while they are cut"
        raise SpecError(msg)


def _run(
    planned: Plan, final: Path, how: tuple[TileMeasure | None, Pool | None, Needs], progress: Progress | None
) -> dict[float, NDArray[Any]] | None:
    """Cut what no earlier run did, and commit.

    Raises:
        DamagedSlideError: If the slide turns out to be broken.
    """
    measure, pool, needs = how
    token = fingerprint(plan=planned.digest, measure=measure and measure.digest, software=software())
    with resumable(final, token) as staging:
        if is_committed(final):  # by the run that this one waited for
            discard(staging)
            return None
        staging.prepare(planned.lay_out)
        tasks = planned.tasks(staging, measure)
        total = sum(len(grid) for grid in planned.grids)
        done = 0
        try:
            for count in _mapped(pool, tasks, needs):
                done += count
                if progress is not None:
                    progress(done, total)
        except DamagedSlideError:
            discard(staging)  # no later run will do better
            raise
        rows = _finish(planned, staging, [task.name for task in tasks], final)
    return rows if measure is not None else None


def _mapped(pool: Pool | None, tasks: Sequence[CutTask], needs: Needs) -> Iterator[int]:
    if pool is not None:
        yield from pool.map(cut_band, tasks, needs)
        return
    with LocalPool() as own:
        yield from own.map(cut_band, tasks)


def _finish(planned: Plan, staging: Staging, names: Sequence[str], final: Path) -> dict[float, NDArray[Any]]:
    """Put the rows of all bands together and commit.

    Returns:
        What was measured besides quality, by scale.

    Raises:
        DamagedStoreError: If a kept tile is in no shard.
    """
    written, rows = gathered(staging, names, planned.grids)
    members = staging.laid_out() | written
    if not shard_names(planned.grids, planned.keep) <= members.keys():
        msg = "tiles of the store are missing; run again"
        raise DamagedStoreError(msg)
    for mpp, measures in rows[QUALITY].items():
        layout.add_rows(staging.store, mpp, QUALITY, measures, quality.TILE_MEASURES)
    finish(staging, final, members, kind=layout.KIND, fingerprint=planned.name)
    return rows[MEASURED]
