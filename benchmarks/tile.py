"""What tiling costs: more zooms, kept pixels, two Dask workers, memory, tissue; and against a loop as peers write it.

    python benchmarks/tile.py [--slide SLIDE] [--mpp0 0.25] [--rounds 3] [--parts PART ...]

Every run of ours is a whole `tiling.tile` as the first on that slide: opening and hashing it, segmentation, plan,
pixels, quality measures, checksums, commit. Each writes into a fresh folder, on tmpfs where there is room.
Ratios are medians over interleaved rounds of the ratio within a round. OpenCV has one thread a process throughout.

zooms3_over_1       CPU seconds of zooms 0.5, 1, 2 over zoom 0.5; one thread, `--keep no` (JPEG and raw: `by_keep`)
jpeg_over_no        CPU seconds of `--keep jpeg` over `no` at zoom 0.5, one thread; raw_over_no likewise
ratio_trident_like  tiles a second of wall time of ours, `--keep raw`, over `_trident_like.py`; same tiles, same cores.
                    The loop writes the same bytes of pixels; on large slides it does a sample, and its rate is compared
dask2_over_local1   wall seconds of LocalPool(1) over DaskPool(2), warm, three zooms, `--keep jpeg`
scheduler_overhead  share of 2 workers x wall seconds (first band handed out to last result in) outside `cut_band`
peak_rss_mb         VmHWM of a fresh process that only does what LocalPool(1) did; worker_rss_mb: of the Dask workers
tissue_seconds      wall seconds of `segment` on a slide just opened; tissue_iou: against SLIDE's .truth.npz, by its
                    cells (tissue where half a cell or more is), null where there is none

The workers of Dask know nothing of the slide, each hashes it in its first band. `dask.idle_share` says where the
overhead is: until a worker's first band, between its bands, after its last one. The share of a run before and after
bands (hash, segmentation, commit) does not get faster by workers. Where `band_cpu_over_local1` is near 1 and
`band_wall_over_local1` is not, the workers had no two cores to themselves.

One JSON object is printed last.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks._tile_on_dask import on_dask, peak_mb
from benchmarks._tile_rounds import MPP, SPECS, Bench, Spent, rates, ratio
from slides import Address, SlideInfo, open_slide
from slides.synthetic import write_slide
from tiling import LocalPool, TileStore, segment, tile
from tiling.shard import Keep

ROOT = Path(__file__).resolve().parents[1]
MAKE_SLIDE = ROOT.parent / "shared" / "tools" / "make_slide.py"
PARTS = ("costs", "trident", "memory", "tissue", "dask")
KEEPS: tuple[Keep, ...] = ("no", "jpeg", "raw")
TARGETS: dict[str, tuple[str, float]] = {
    "zooms3_over_1": ("<=", 1.10),
    "jpeg_over_no": ("<=", 1.35),
    "raw_over_no": ("<=", 1.25),
    "ratio_trident_like": (">=", 5),
    "dask2_over_local1": (">=", 1.8),
    "scheduler_overhead": ("<=", 0.05),
    "peak_rss_mb": ("<=", 1500),
    "worker_rss_mb": ("<=", 1500),
    "tissue_seconds": ("<=", 1),
    "tissue_iou": (">=", 0.95),
}


def costs(bench: Bench, store: TileStore) -> dict[str, Any]:
    """More zooms and kept pixels, in CPU time on one thread."""
    with LocalPool(1) as pool:
        ways: dict[str, Callable[[], Spent]] = {
            f"{keep}_{len(specs)}": lambda keep=keep, specs=specs: bench.ours(specs, keep, pool)  # type: ignore[misc]
            for keep in KEEPS
            for specs in (SPECS[:1], SPECS)
        }
        found = bench.interleaved(ways)
    counts = {name: len(store.grid(MPP)) if name.endswith("1") else sum(map(len, store.grids)) for name in ways}
    by_keep = {keep: ratio(found[f"{keep}_3"], found[f"{keep}_1"]).cpu for keep in KEEPS}
    return {
        "zooms3_over_1": by_keep["no"],
        "zooms3_over_1_by_keep": by_keep,
        "jpeg_over_no": ratio(found["jpeg_1"], found["no_1"]).cpu,
        "raw_over_no": ratio(found["raw_1"], found["no_1"]).cpu,
        "tiles_per_s_one_thread": rates(found, counts),
    }


def tissue(bench: Bench) -> dict[str, float | None]:
    """How long segmentation takes, and how right it is."""
    walls = []
    for _ in range(max(3, bench.rounds)):
        with open_slide(bench.address) as slide:  # anew, so that nothing is cached
            start = time.perf_counter()
            mask = segment(slide)
            walls.append(time.perf_counter() - start)
    truth, iou = bench.path.with_suffix(".truth.npz"), None
    if truth.is_file():
        with np.load(truth, allow_pickle=False) as file:
            cells, side = file["classes"] > 0, float(file["cell_px"])
        top, left = (axis.ravel() * side for axis in np.indices(cells.shape))
        found = mask.shares(left, top, (side, side)).reshape(cells.shape) >= 0.5
        iou = round(float((found & cells).sum() / (found | cells).sum()), 4)
    return {"tissue_seconds": round(statistics.median(walls), 3), "tissue_iou": iou}


def fresh_process_mb(bench: Bench) -> int:
    """Peak memory of a process that does nothing but tile."""
    call = [sys.executable, __file__, "--memory", "--slide", str(bench.path), "--scratch", str(bench.scratch)]
    mpp0 = [] if bench.address.mpp0 is None else ["--mpp0", str(bench.address.mpp0.x)]
    return round(float(subprocess.run([*call, *mpp0], check=True, stdout=subprocess.PIPE, text=True).stdout))


def verdicts(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Each target, and whether it is met; null where nothing was measured."""
    found = {}
    for key, (sign, limit) in TARGETS.items():
        value = document.get(key)
        met = None if value is None else (value <= limit if sign == "<=" else value >= limit)
        found[key] = {"target": f"{sign} {limit:g}", "met": met}
    return found


def room(info: SlideInfo) -> Path:
    """A folder for stores: memory where all tiles raw would fit twice into what is free, else the disk."""
    mpp0, shm = info.require_mpp(), Path("/dev/shm")  # noqa: S108 - tmpfs is what is asked for
    raw = info.size.width * mpp0.x * info.size.height * mpp0.y / MPP**2 * 3 * sum((MPP / s.mpp) ** 2 for s in SPECS)
    free_kb = int(Path("/proc/meminfo").read_text().split("MemAvailable:")[1].split()[0])
    fits = shm.is_dir() and 2 * raw < min(shutil.disk_usage(shm).free, free_kb * 1024)
    return shm if fits else Path(tempfile.gettempdir())


def parse() -> argparse.Namespace:
    """The command line."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--slide", type=Path, help="a made slide of 30,000 x 30,000 px where none is given")
    cli.add_argument("--mpp0", type=float)
    cli.add_argument("--rounds", type=int, default=3)
    cli.add_argument("--cores", type=int, default=2, help="for the comparison with the plain loop")
    cli.add_argument("--sample", type=int, default=5000, help="most tiles that the plain loop does")
    cli.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure; all where not given")
    cli.add_argument("--scratch", type=Path, help="folder for stores")
    cli.add_argument("--memory", action="store_true", help="only tile and print the peak memory in MB")
    return cli.parse_args()


def made(folder: Path) -> Path:
    """A slide of real tissue with its truth where the tool for that is there, else a drawn one."""
    path = folder / "made.svs"
    if not MAKE_SLIDE.is_file():
        return write_slide(path, size=(10_000, 9_000), mpp=0.25)
    subprocess.run([sys.executable, str(MAKE_SLIDE), str(path)], check=True, stdout=sys.stderr)
    return path


def main() -> None:
    """Measure and print."""
    arguments = parse()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.slide or made(Path(folder))
        address = Address.of(path, arguments.mpp0)
        with open_slide(address) as slide:
            info = slide.info
        bench = Bench(address, path, arguments.scratch or room(info), arguments.rounds)
        if arguments.memory:
            with LocalPool(1) as pool:
                bench.ours(SPECS, "jpeg", pool)
            print(peak_mb())
        else:
            measure(bench, info, arguments)


def measure(bench: Bench, info: SlideInfo, arguments: argparse.Namespace) -> None:
    """Measure all on one slide and print."""
    from benchmarks._trident_like import against_trident  # torch: not in the process whose memory is measured

    with tempfile.TemporaryDirectory(dir=bench.scratch) as folder:
        with LocalPool(1) as pool:  # warms this process and the file cache, too
            store = tile(bench.address, SPECS, Path(folder), pool=pool, keep="no")
        document: dict[str, Any] = {
            "slide": {"reader": info.reader, "size": [info.size.width, info.size.height]},
            "tiles": {f"{grid.mpp:g}": len(grid) for grid in store.grids},
            "stores_on": "tmpfs" if bench.scratch == Path("/dev/shm") else "disk",  # noqa: S108
            "rounds": bench.rounds,
        }
        parts: dict[str, Callable[[], dict[str, Any]]] = {
            "costs": lambda: costs(bench, store),
            "trident": lambda: against_trident(bench, store, arguments.cores, arguments.sample),
            "memory": lambda: {"peak_rss_mb": fresh_process_mb(bench)},
            "tissue": lambda: tissue(bench),
            "dask": lambda: on_dask(bench),
        }
        for part in PARTS:
            document |= parts[part]() if part in arguments.parts else {}
    print(json.dumps({**document, "targets": verdicts(document)}))


if __name__ == "__main__":
    main()
