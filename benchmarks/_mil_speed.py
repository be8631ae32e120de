"""What an epoch costs beside its bare matrix products, and what the largest bag costs in memory."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from benchmarks._mil_runs import Bench, rounded
from mil.bag import Bag
from mil.cohort.cohort import Cohort
from mil.cohort.read import read_cohort
from mil.cohort.spec import CohortSpec
from mil.head import build_head
from mil.heads.abmil import AbmilSettings
from mil.infer import predict
from mil.tasks.binary import Binary
from mil.train import Fit
from mil.training.drawing import Cases
from mil.training.goal import Goal
from mil.training.loop import Loop
from mil.training.objective import ObjectiveSpec, build_objective
from mil.training.pooled import pool_cohort, standardise
from mil.training.spec import TrainSpec

ROUNDS: Final = 5
MILLION: Final = 1_000_000
WIDTH: Final = 192


def speed(bench: Bench) -> dict[str, Any]:
    """Times are ratios of interleaved rounds in one process; memory is measured in processes of its own."""
    call = [sys.executable, "-m", "benchmarks._mil_speed", str(bench.data)]
    root = Path(__file__).resolve().parents[1]
    parts = [
        json.loads(subprocess.run([*call, part], cwd=root, capture_output=True, check=True, text=True).stdout)
        for part in ("epoch", "million")
    ]
    return {"epoch": parts[0], "million_instances": parts[1]}


def epoch(data: Path) -> dict[str, Any]:
    """An epoch of gated attention over all bags, every tile of each, against its products on one thread and on all."""
    cohort = read_cohort(data / "bags" / "tcga_bags.npz", data / "bags" / "tcga_labels.csv", CohortSpec(), ())
    loop = _loop(cohort)
    tiles = int(cohort.sizes().sum())
    products = _products(tiles, AbmilSettings())
    cores = torch.get_num_threads()
    loop.epoch(1)
    ratios: dict[str, list[float]] = {"one": [], "all": []}
    for _ in range(ROUNDS):
        torch.set_num_threads(1)
        spent, bare = _seconds(partial(loop.epoch, 1)), _seconds(products)
        torch.set_num_threads(cores)
        ratios["one"].append(spent / bare)
        ratios["all"].append(spent / _seconds(products))
    return {
        "bags": len(cohort),
        "instances": tiles,
        "seconds": rounded(spent),
        "products_seconds_one_thread": rounded(bare),
        "ratio_one_thread": rounded(np.median(ratios["one"])),
        f"ratio_products_on_{cores}_threads": rounded(np.median(ratios["all"])),
        "peak_rss_mb": _peak(),
    }


def _loop(cohort: Cohort) -> Loop:
    """The training loop of the product; every tile of every bag in each epoch."""
    targets = (np.arange(len(cohort)) % 2).astype(np.float32)[:, None]
    head = build_head("abmil", cohort.source.width)
    standardise(head, pool_cohort(cohort))
    objective = build_objective(Binary(), ObjectiveSpec(), targets)
    cases, none = Cases(cohort, targets), Cases(cohort.subset([]), targets[:0])
    spec = TrainSpec(keep=1.0, tiles=1 << 20)
    return Loop(head, cases, none, Goal(Binary(), objective, spec, 0))


def _products(tiles: int, settings: AbmilSettings) -> Callable[[], None]:
    """The matrix products of a forward and backward pass over all tiles as one batch, and nothing else."""
    hidden, attention = settings.hidden, settings.attention
    shapes = {"x": (tiles, WIDTH), "w": (WIDTH, hidden), "h": (tiles, hidden), "v": (hidden, attention)}
    x, w, h, v = (torch.randn(shape) for shape in shapes.values())
    a, s, one = torch.randn(tiles, attention), torch.randn(tiles, 1), torch.randn(attention, 1)

    def run() -> None:
        torch.mm(x, w)  # embedding
        torch.mm(h, v)  # content
        torch.mm(h, v)  # gate
        torch.mm(a, one)  # score
        torch.mm(h.T, s)  # pooling
        torch.mm(s, one.T)  # back: to the gated product
        torch.mm(a.T, s)  # weights of the score
        for _ in range(2):  # content and gate
            torch.mm(h.T, a)  # their weights
            torch.mm(a, v.T)  # to the hidden units
        torch.mm(x.T, h)  # weights of the embedding

    return run


def million() -> dict[str, Any]:
    """Score one bag of a million instances."""
    rng = np.random.default_rng(0)
    features = np.empty((MILLION, WIDTH), np.float32)
    for part in np.array_split(features, 100):
        part[:] = rng.standard_normal(part.shape, np.float32)
    before = _peak()
    fit = Fit("abmil", build_head("abmil", WIDTH).eval(), TrainSpec())
    bag = Bag("million", features, np.zeros((MILLION, 2), np.int64))
    begin = time.perf_counter()
    prediction = predict(fit, bag)
    return {
        "instances": MILLION,
        "seconds": rounded(time.perf_counter() - begin),
        "probability": rounded(prediction.probability),
        "features_mb": features.nbytes >> 20,
        "peak_rss_mb_before": before,
        "peak_rss_mb": _peak(),
    }


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


if __name__ == "__main__":
    print(json.dumps(million() if sys.argv[2] == "million" else epoch(Path(sys.argv[1]))))
