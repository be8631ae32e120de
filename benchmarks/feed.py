"""Does a device wait? Slides in a row into a device that only takes time: ours, and a loop as peers write it.

    python benchmarks/feed.py [--rate 500] [--slides 4] [--cells 120] [--rounds 3] [--cores 2]

The device takes `batch / rate` seconds for a batch and lets the interpreter go meanwhile, as a GPU does; it is the same
for both. Ours hands it batches that mix slides while the next slides are opened and segmented, and pays for content
hash, quality measures, checksums and commit; `_embed_like_trident.py` says what the other pays and what not. Both run
in one process, on the same cores, in interleaved rounds; printed is the median over rounds, `rounds` holds each.

idle_share      of the time from the end of the first batch to the end of the last, that the device had nothing to do
longest_gap_s   longest wait between two batches in that time
cores_needed    CPU seconds of ours for a tile times the rate: what would have to be free for it
starved_share   share of its cores that a busy loop of this process, before each round, did not get: where others use
                the machine it is not 0, and idle shares are too high

One JSON object is printed last.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from benchmarks._embed_like_trident import TridentLike, made_slides
from benchmarks._tile_rounds import cpu_seconds, forget
from benchmarks._trident_like import on_cores
from foundation import EmbedRun, EncoderSpec, list_encoders
from foundation.engine.meter import Meter, idle
from foundation.engine.simulated import ColourEncoder, SimulatedDevice
from slides import Address

TARGET = 0.01
"""Idle share, at most."""
SPEC: EncoderSpec = replace(list_encoders()[0], key="colour", dim=6, px=224, mpp=(0.5,))


def ours(slides: Sequence[Path], arguments: argparse.Namespace, out: Path) -> dict[str, Any]:
    """The engine."""
    device = SimulatedDevice(arguments.rate, batch=arguments.batch)
    cpu = cpu_seconds()
    run = EmbedRun([Address.of(path) for path in slides], [ColourEncoder(SPEC)], out, devices=[device])
    for outcome in run:
        outcome.get()
    report = run.report()
    return {
        "idle_share": report.idle_share,
        "longest_gap_s": report.longest_gap_s,
        "tiles": report.tiles,
        "tiles_per_s": report.tiles_per_s_fed,
        "wall_s": report.wall_s,
        "cores_needed": (cpu_seconds() - cpu) / report.tiles * arguments.rate,
        "seconds": dict(report.seconds),
    }


def theirs(slides: Sequence[Path], arguments: argparse.Namespace, out: Path) -> dict[str, Any]:
    """The plain loop: it waits for each batch before it asks for the next, as `.cpu()` does."""
    device = SimulatedDevice(arguments.rate, batch=arguments.batch)

    def encode(images: Tensor, meter: Meter) -> NDArray[np.float32]:
        done = device.busy(images[:, :, ::8, ::8].mean(dim=(2, 3)).numpy()).result()
        meter.add(done.begin, done.end, len(images))
        return done.rows

    loop, begin = TridentLike(SPEC, encode, arguments.batch, arguments.cores), time.perf_counter()
    loop.run(slides, out)
    share, longest = idle([loop.meter])
    return {
        "idle_share": share,
        "longest_gap_s": longest,
        "tiles": loop.meter.tiles,
        "tiles_per_s": loop.tiles_per_s,
        "wall_s": time.perf_counter() - begin,
    }


def starved() -> float:
    """How much of its cores this process lacks: of the wall time of threads that only work, what they did not run."""
    cores = len(os.sched_getaffinity(0))
    found: list[float] = []

    def count() -> None:
        wall, cpu = time.perf_counter(), time.thread_time()
        image = np.zeros((512, 512, 3), np.uint8)
        while time.perf_counter() - wall < 0.5:
            cv2.GaussianBlur(image, (31, 31), 0)  # lets the interpreter go
        found.append(1 - (time.thread_time() - cpu) / (time.perf_counter() - wall))

    threads = [threading.Thread(target=count) for _ in range(cores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return round(statistics.mean(found), 3)


def measured(slides: Sequence[Path], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Both ways, once a round."""
    rounds = []
    for number in range(arguments.rounds):
        found: dict[str, Any] = {"starved_share": starved()}
        for name, way in (("ours", ours), ("trident_like", theirs)):
            forget()
            with tempfile.TemporaryDirectory(dir=arguments.scratch) as out:
                found[name] = way(slides, arguments, Path(out))
            print(f"round {number + 1}: {name} {found[name]}", file=sys.stderr)
        rounds.append(found)
    return rounds


def middle(rounds: Sequence[dict[str, Any]], way: str, key: str) -> float:
    """The median over rounds."""
    return round(float(statistics.median(each[way][key] for each in rounds)), 4)


def main(words: Sequence[str] | None = None) -> None:
    """Measure and print."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--rate", type=float, default=500, help="tiles a second that the device does")
    cli.add_argument("--slides", type=int, default=4)
    cli.add_argument("--cells", type=int, default=120, help="side of a slide in cells of 150 px")
    cli.add_argument("--rounds", type=int, default=3)
    cli.add_argument("--cores", type=int, default=2)
    cli.add_argument("--batch", type=int, default=64)
    cli.add_argument("--scratch", type=Path, help="folder for slides and results")
    arguments = cli.parse_args(words)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as folder, on_cores(arguments.cores):
        slides = made_slides(Path(folder), arguments.slides, arguments.cells)
        rounds = measured(slides, arguments)
    document = {
        "idle_share": middle(rounds, "ours", "idle_share"),
        "idle_share_trident_like": middle(rounds, "trident_like", "idle_share"),
        "longest_gap_s": middle(rounds, "ours", "longest_gap_s"),
        "longest_gap_s_trident_like": middle(rounds, "trident_like", "longest_gap_s"),
        "tiles_per_s": middle(rounds, "ours", "tiles_per_s"),
        "tiles_per_s_trident_like": middle(rounds, "trident_like", "tiles_per_s"),
        "cores_needed": middle(rounds, "ours", "cores_needed"),
        "capacity_tiles_per_s": arguments.rate,
        "cores": arguments.cores,
        "rounds": rounds,
    }
    idle_share = {"target": f"<= {TARGET:g}", "met": middle(rounds, "ours", "idle_share") <= TARGET}
    targets = {"idle_share": idle_share, "idle_share_trident_like": {"expected": "about 0.7"}}
    print(json.dumps({**document, "targets": targets}))


if __name__ == "__main__":
    main()
