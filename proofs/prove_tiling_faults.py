"""Proof: a tile store is absent or whole, whatever dies, fills up, rots or runs beside it.

    python proofs/prove_tiling_faults.py [--kills 200] [--slides 60] [--seed 0]

- Drivers and Dask workers are killed (SIGKILL) at random moments while a reader looks: nothing lost, nothing wrong, no
  partial store ever seen. The same with two bugs planted, which it has to notice.
- A disk of 3 MB that is full: a typed error, nothing visible, and the work goes on when there is room.
- 300 flipped bits: `verify` names the file of each.
- Two runs on one slide at once: one store.

Takes some ten minutes on two cores. Prints one JSON object, last, and exits 1 when a claim does not hold.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tiling import NoSpaceError, TileSpec, read_manifest, tile, verify_manifest
from tools.kill_tiling import BUGS, SPECS, disturbed, make_slides
from tools.tiling_faults import flipped_bits_found, grow_disk, run_together, small_disk

FLIPS = 300
BUG_KILLS, BUG_SLIDES = 12, 3
DISK_MB, ROOM_MB = 3, 64


def full_disk(slide: Path, folder: Path) -> dict[str, Any]:
    """Tile onto a disk that is too small, then onto the same with room."""
    specs = [TileSpec(0.5)]
    with small_disk(folder / "disk", DISK_MB) as disk:
        try:
            tile(slide, specs, disk / "out", keep="raw")
            error = None
        except NoSpaceError as caught:
            error = type(caught).__name__
        visible = [path.name for path in (disk / "out").glob("*.zarr")]
        kept = len(list((disk / "out").glob(".*.staging/bands/*.npz")))
        grow_disk(disk, ROOM_MB)
        store = tile(slide, specs, disk / "out", keep="raw")
        whole = verify_manifest(store.path) == []
        same = read_manifest(store.path) == read_manifest(tile(slide, specs, folder / "roomy", keep="raw").path)
    return {"error": error, "visible": visible, "bands_kept": kept, "whole_after": whole and same}


def main() -> None:
    """Measure, print, judge."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--kills", type=int, default=200)
    cli.add_argument("--slides", type=int, default=60)
    cli.add_argument("--seed", type=int, default=0)
    arguments = cli.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        slides = make_slides(folder / "slides", arguments.slides)
        kills = disturbed(slides, folder / "kills", arguments.kills, seed=arguments.seed)
        print(json.dumps({"kills": kills.to_json()}), flush=True)
        planted = {bug: disturbed(slides[:BUG_SLIDES], folder / bug, BUG_KILLS, bug=bug) for bug in BUGS}
        store = tile(slides[0], SPECS, folder / "bits")
        together = run_together(slides[1], folder / "together", 2)
        document: dict[str, Any] = {
            "kills": kills.to_json(),
            "planted_bugs_noticed": {bug: not seen.is_clean for bug, seen in planted.items()},
            "full_disk": full_disk(slides[-1], folder),
            "flipped_bits": FLIPS,
            "flipped_bits_found": flipped_bits_found(store, FLIPS, arguments.seed),
            "two_runs_exit": together,
            "two_runs_stores": len(list((folder / "together").iterdir())),
        }
    disk = document["full_disk"]
    holds = {
        "kills": kills.is_clean,
        "planted_bugs": all(document["planted_bugs_noticed"].values()),
        "full_disk": disk["error"] == "NoSpaceError" and not disk["visible"] and disk["whole_after"],
        "flipped_bits": document["flipped_bits_found"] == FLIPS,
        "two_runs": together == [0, 0] and document["two_runs_stores"] == 1,
    }
    document |= {"holds": holds, "seconds": round(time.monotonic() - started)}
    print(json.dumps(document))
    sys.exit(not all(holds.values()))


if __name__ == "__main__":
    main()
