"""The tiling stage: a slide's address and specs in, a committed tile store out."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from slides import Address, SlideInfo, open_slide
from tiling import store as layout
from tiling.commit import is_committed, staged
from tiling.cut import Block, blocks, cell_size, cut, families
from tiling.errors import SpecError
from tiling.fingerprint import fingerprint
from tiling.grid import TileGrid, TileSpec
from tiling.jpeg_codec import DEFAULT_QUALITY
from tiling.plan import plan
from tiling.pool import LocalPool, Pool
from tiling.tissue import TissueSpec, segment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slides import Slide

Keep = Literal["jpeg", "raw", "no"]
DEFAULT_ZOOMS = (0.5, 1.0, 2.0)
"""Cell, structure and tissue scale in micrometres per pixel."""


@dataclass(frozen=True, slots=True)
class CutTask:
    """What a worker needs to cut one block: no pixels, no open files."""

    address: Address
    folder: str
    zooms: tuple[float, ...]
    block: Block


def tile(
    address: Address | str | Path,
    specs: Sequence[TileSpec],
    out: Path,
    *,
    pool: Pool | None = None,
    keep: Keep = "jpeg",
    progress: Callable[[int, int], None] | None = None,
) -> layout.TileStore:
    """Tile a slide at several zooms into one Zarr store; an earlier whole store of the same slide and specs is reused.

    Args:
        address: The slide.
        specs: One for each zoom.
        out: Folder for stores.
        pool: Where blocks are cut; threads of this process where None.
        keep: Keep pixels as JPEG, raw, or not at all (they are then cut again when needed).
        progress: Called with blocks done and blocks in all.

    Returns:
        The committed store, at `out/<fingerprint>.tiles.zarr`.

    Raises:
        SpecError: If `keep` is none of the three.
    """
    if keep not in {"jpeg", "raw", "no"}:
        msg = f"tiles can be kept as jpeg, raw or no, not {keep!r}"
        raise SpecError(msg)
    address = Address.of(address)
    with open_slide(address) as slide:
        info = slide.info
        address = replace(address, mpp0=info.require_mpp())
        name = stage_fingerprint(info, specs, keep)
        final = out / f"{name}.tiles.zarr"
        if is_committed(final):
            return layout.TileStore(final)
        mask = segment(slide)
        grids = plan(info, specs, mask)
        groups = families(grids)
        provenance = _provenance(info, name) | {"decode": {f"{g[0].mpp:g}": _decode(slide, g[0]) for g in groups}}
    ratios = {f"{grid.mpp:g}": round(grid.mpp / group[0].mpp) for group in groups for grid in group}
    about = {"keep": keep, "quality": DEFAULT_QUALITY, "ratios": ratios, "provenance": provenance}
    with staged(final, kind=layout.KIND, fingerprint=name) as folder:
        layout.create(folder, info, grids, mask, about)
        if keep != "no":
            _cut_all(address, grids, folder, pool, progress)
    return layout.TileStore(final)


def _decode(slide: Slide, grid: TileGrid) -> str:
    """How the pixels of a grid are made: `full`, or `dct-1/2` for scaled decoding, then area average or linear."""
    return slide.source_for(min(cell_size(grid)) / grid.spec.px).decode


def stage_fingerprint(info: SlideInfo, specs: Sequence[TileSpec], keep: str) -> str:
    """The name of a tile store: what it is made of.

    Args:
        info: The slide.
        specs: One for each zoom.
        keep: How pixels are kept.

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
        tissue=asdict(TissueSpec()),
        keep=keep,
        quality=DEFAULT_QUALITY if keep == "jpeg" else None,
    )


def _provenance(info: SlideInfo, name: str) -> dict[str, Any]:
    return {"slide": info.content_hash, "tiles": name, "reader": info.reader, "mpp_source": info.mpp_source}


def _cut_all(
    address: Address,
    grids: Sequence[TileGrid],
    folder: Path,
    pool: Pool | None,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Cut every block of every family on the pool."""
    tasks = [
        CutTask(address, str(folder), tuple(grid.mpp for grid in family), block)
        for family in families(grids)
        for block in blocks(family)
    ]
    if pool is None:
        with LocalPool() as own:
            _cut_all(address, grids, folder, own, progress)
            return
    for done, _ in enumerate(pool.map(cut_block, tasks), start=1):
        if progress is not None:
            progress(done, len(tasks))


def cut_block(task: CutTask) -> int:
    """Cut one block into a staging folder; runs on any worker.

    Args:
        task: What and where.

    Returns:
        How many tiles were written.
    """
    family = layout.staged_grids(Path(task.folder), task.zooms)
    count = 0
    with open_slide(task.address) as slide:
        for zoom, index, tiles in cut(slide, family, task.block):
            layout.write_tiles(Path(task.folder), family[zoom], (task.block, zoom), index, tiles)
            count += len(index)
    return count
