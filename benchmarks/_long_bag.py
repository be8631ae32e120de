"""What one bag of a million tiles costs each head, beyond the bag itself.

    python benchmarks/_long_bag.py [--tiles 1000000] [--width 192] [--heads abmil,ilra]

Each head scores, with its explanation, in a process of its own on one core. Prints a table, then one JSON object:
head -> seconds of CPU and MB of memory beyond the features.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import torch

from mil import HEADS, build_head
from mil.batch import pin_threads


def peak() -> float:
    """Most memory this process ever had, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@torch.inference_mode()
def cost(name: str, tiles: int, width: int) -> dict[str, float]:
    """Score one bag of noise, for the first time in this process but for a warm-up of a few tiles."""
    pin_threads()
    head, features = build_head(name, width).eval(), torch.empty(1, tiles, width)
    for start in range(0, tiles, 50_000):
        features[:, start : start + 50_000].normal_()
    mask = torch.ones(1, tiles, dtype=torch.bool)
    head(features[:, :2000], mask[:, :2000], explain=True)
    before, start_time = peak(), time.process_time()
    head(features, mask, explain=True)
    return {"seconds": round(time.process_time() - start_time, 1), "mb": round(peak() - before)}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--heads", default=",".join(HEADS))
    arguments = parser.parse_args()
    found = {}
    print("| head | seconds | MB |\n|---|---|---|")
    for name in arguments.heads.split(","):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
            found[name] = alone.submit(cost, name, arguments.tiles, arguments.width).result()
        print(f"| {name} | {found[name]['seconds']} | {found[name]['mb']} |", flush=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
