"""Kill tiling at random moments while a reader looks: what the proof and the test of crash safety share.

Slides are tiled by a driver process, alone or with worker processes of Dask; drivers and workers are killed (SIGKILL).
All the while a reader opens every store that it can see. A store has to be absent or whole, and in the end every slide
must have one that equals, byte for byte, what an undisturbed run writes.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from unittest.mock import patch

from slides.testing import write_slide
from tiling import (
    LocalPool,
    TileSpec,
    TileStore,
    TilingError,
    commit,
    read_manifest,
    stage,
    staging,
    tile,
    verify_manifest,
)
from tiling.cluster import DaskPool

SPECS = (TileSpec(0.5), TileSpec(1.0))
BUGS = ("no-rename", "no-manifest-check")


@dataclass
class Verdict:
    """What was seen."""

    kills: int = 0
    worker_kills: int = 0
    looks: int = 0
    """Stores that the reader opened and compared."""
    partial: int = 0
    """Looks at which a store was there, but not whole."""
    lost: int = 0
    """Slides without a store in the end."""
    wrong: int = 0
    """Slides with another store than an undisturbed run writes."""
    left_over: list[str] = field(default_factory=list)
    """What a driver left that was killed between commit and clean-up; the next run of its slide sweeps it away."""

    @property
    def is_clean(self) -> bool:
        """Nothing lost, wrong or partial, and the reader did look."""
        return self.looks > 0 and not (self.partial or self.lost or self.wrong)

    def to_json(self) -> dict[str, object]:
        """For printing.

        Returns:
            Every count.
        """
        return asdict(self) | {"clean": self.is_clean}


def make_slides(folder: Path, count: int) -> list[Path]:
    """Draw small slides, all different.

    Args:
        folder: Where.
        count: How many.

    Returns:
        Their paths.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return [write_slide(folder / f"{n}.svs", size=(2000 + 8 * n, 1600), seed=n) for n in range(count)]


def disturbed(slides: list[Path], folder: Path, kills: int, *, seed: int = 0, bug: str | None = None) -> Verdict:
    """Tile slides under fire.

    Args:
        slides: Which.
        folder: For the stores; must be empty.
        kills: How many processes to kill.
        seed: Of the moments.
        bug: One of `BUGS` to plant in the driver, to see that the harness notices.

    Returns:
        What was seen.
    """
    with LocalPool(1) as pool:
        expected = {s: tile(s, SPECS, folder / "expected", pool=pool) for s in slides}
    verdict, rng = Verdict(), random.Random(seed)  # noqa: S311 - moments, not secrets
    out, stop = folder / "out", threading.Event()
    known = {store.path.name: read_manifest(store.path) for store in expected.values()}
    reader = threading.Thread(target=_look, args=(out, known, verdict, stop))
    reader.start()
    command = [sys.executable, "-m", "tools.kill_tiling", "--out", str(out), *map(str, slides)]
    while verdict.kills < kills:
        workers = 2 if rng.random() < 0.25 else 0
        options = ["--workers", str(workers), "--shuffle", str(rng.random()), *(["--bug", bug] if bug else [])]
        process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        _fire(process, workers, rng, verdict)
        if process.poll() == 0 and len(list(out.glob("*.tiles.zarr"))) == len(slides):
            shutil.rmtree(out.rename(folder / "done"))  # begin again: there are more moments to try
    subprocess.run([*command, *(["--bug", bug] if bug else [])], check=False, capture_output=True)
    stop.set()
    reader.join()
    for store in expected.values():
        _judge(out / store.path.name, known[store.path.name], verdict)
    verdict.left_over = sorted(path.name for path in out.iterdir() if path.name.startswith("."))
    return verdict


def _fire(process: subprocess.Popen[str], workers: int, rng: random.Random, verdict: Verdict) -> None:
    """Kill a worker now and then, and in the end the driver."""
    assert process.stdout is not None
    process.stdout.readline()  # the driver is ready
    time.sleep(rng.uniform(0, 0.6))
    children = _workers(process.pid) if workers else []
    if children and rng.random() < 0.7:
        _kill(rng.choice(children), verdict)
        verdict.worker_kills += 1
        time.sleep(rng.uniform(0, 2))
    if process.poll() is None:
        _kill(process.pid, verdict)
    process.wait()
    process.stdout.close()


def _workers(pid: int) -> list[int]:
    """Worker processes of a driver."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    children = [int(child) for task in tasks for child in task.read_text().split()]
    return [child for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def _kill(pid: int, verdict: Verdict) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
        verdict.kills += 1
    except ProcessLookupError:
        pass


def _look(out: Path, known: dict[str, dict[str, object]], verdict: Verdict, stop: threading.Event) -> None:
    """Open whatever stands there, again and again."""
    while not stop.is_set():
        for path in out.glob("*.tiles.zarr"):
            try:
                TileStore.open(path)
                same = read_manifest(path)["members"] == known[path.name]["members"]
            except Exception:  # noqa: BLE001 - whatever a reader trips over is no whole store
                same = False
            if path.exists():  # else the harness itself took it away
                verdict.looks += 1
                verdict.partial += not same
        time.sleep(0.005)


def _judge(path: Path, expected: dict[str, object], verdict: Verdict) -> None:
    if not path.exists():
        verdict.lost += 1
        return
    try:
        verdict.wrong += bool(verify_manifest(path)) or read_manifest(path) != expected
    except TilingError:
        verdict.wrong += 1


def plant(bug: str) -> None:
    """Break the code of this process.

    Args:
        bug: `no-rename`: a finished store is copied to its place. `no-manifest-check`: a store is built in its place,
            and one that stands there is taken for whole.
    """
    if bug == "no-rename":
        copy = partial(shutil.copytree, dirs_exist_ok=True)
        patch.object(commit, "_rename", copy).start()
        return
    patch.object(stage, "is_committed", Path.exists).start()
    in_place = property(lambda self: self.root.with_name(self.root.name[1:].rsplit(".", 2)[0]))
    patch.object(staging.Staging, "store", in_place).start()


def main() -> None:
    """The driver that is killed: tile slides in a random order."""
    cli = argparse.ArgumentParser()
    cli.add_argument("slides", nargs="+", type=Path)
    cli.add_argument("--out", type=Path, required=True)
    cli.add_argument("--workers", type=int, default=0)
    cli.add_argument("--shuffle")
    cli.add_argument("--bug", choices=BUGS)
    arguments = cli.parse_args()
    random.Random(arguments.shuffle).shuffle(arguments.slides)  # noqa: S311 - an order, no secret
    if arguments.bug:
        plant(arguments.bug)
    with DaskPool(workers=arguments.workers) if arguments.workers else LocalPool(2) as pool:
        print("ready", flush=True)
        for slide in arguments.slides:
            tile(slide, SPECS, arguments.out, pool=pool)


if __name__ == "__main__":
    main()
