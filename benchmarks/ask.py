"""How well words find what they mean: slides by score, places by tiles, and a tiny pair by words that it never read.

    python benchmarks/ask.py [--data ../shared/data] [--maker ../shared/tools/make_slide.py] [--maps 12] [--nodules 3]
                            [--only slides|pair] [--encoder tissue-lite0|builtin]

Slides are made of patches and maps that trained neither the encoder nor its tissue head (tools/tissue_plans.py); the
patches' own slides are not known, so neighbours of one section may stand on both sides of the split. A slide's score is
what MI-Zero makes of two classes: mean of the K best tiles for tumour less that for stroma, K fixed in the product.
One JSON object is printed last.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from benchmarks._ask_pair import zero_shot
from benchmarks._ask_slides import CELLS, Asked, Studio, held_out_maps, held_out_patches
from foundation import load_encoder
from foundation.registry import DEFAULT_ENCODER
from foundation.tissue import TISSUES
from tools.tissue_plans import PLANS
from tools.train_tiny_pair import Recipe

ROOT = Path(__file__).resolve().parents[1]
RICH = 0.4
"""Share of the tissue cells that becomes tumour, or stroma."""
NODULE = ("0.8", "0.15")
"""Share of the cells that becomes the tissue inside a round nodule, and the nodule's share of the slide."""
LOCATED = ("tumour", "stroma", "immune_cells", "adipose", "necrosis")
DRAWS = 1000


def main() -> None:
    """Make, ask, measure, print."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = ROOT.parent / "shared"
    cli.add_argument("--data", type=Path, default=shared / "data")
    cli.add_argument("--maker", type=Path, default=shared / "tools" / "make_slide.py")
    cli.add_argument("--maps", type=int, default=12, help="each gives a slide rich in tumour and one rich in stroma")
    cli.add_argument("--nodules", type=int, default=3, help="slides with a nodule, for each of five tissues")
    cli.add_argument("--steps", type=int, default=Recipe.steps, help="of training the tiny pair")
    cli.add_argument("--encoder", choices=tuple(PLANS), default=DEFAULT_ENCODER, help="whose head is asked")
    cli.add_argument("--only", choices=("slides", "pair"), help="one part alone")
    arguments = cli.parse_args()
    begin = time.perf_counter()
    document: dict[str, Any] = {}
    if arguments.only != "pair":
        document |= of_slides(arguments)
    if arguments.only != "slides":
        document["zero_shot"] = zero_shot(arguments.data, Recipe(steps=arguments.steps))
    document["seconds"] = round(time.perf_counter() - begin, 1)
    document["machine"] = {"cores": os.cpu_count(), "processor": platform.machine()}
    print(json.dumps(document, indent=1))


def of_slides(arguments: argparse.Namespace) -> dict[str, Any]:
    """Figures of the built-in vocabulary on made slides."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        patches = held_out_patches(arguments.data, folder / "patches", arguments.encoder)
        maps = ["--maps", str(arguments.data / "tissue_maps.npz")]
        maker = [str(arguments.maker.resolve()), "--patches", str(patches), *maps]
        studio = Studio(maker, folder, load_encoder(arguments.encoder))
        slide = slide_figures(studio, held_out_maps()[: arguments.maps])
        tiles = tile_figures(studio, held_out_maps()[: arguments.nodules])
    located = {tissue: found["auroc"] for tissue, found in tiles.items()}
    about = {"encoder": arguments.encoder, "slide": slide, "tile": tiles}
    return {"slide_auroc": slide["auroc"], "tile_auroc": located, **about}


def slide_figures(studio: Studio, maps: Sequence[int]) -> dict[str, Any]:
    """Slides rich in tumour against slides rich in stroma, two of each map."""
    pairs = []
    for number in maps:
        made = []
        for seed, tissue in enumerate(("tumour", "stroma")):
            options = ["--map", str(number), "--swap", f"any:{tissue}:{RICH}", "--seed", str(2 * number + seed)]
            made.append(studio.asked(f"rich-{number}-{tissue}", options))
        pairs.append((made[0], made[1]))
    ways: dict[str, Callable[[Asked], float]] = {
        "auroc": lambda one: one.score("tumour") - one.score("stroma"),
        "auroc_tumour_alone": lambda one: one.score("tumour"),
        "auroc_tumour_share": lambda one: one.share("tumour"),
    }
    found: dict[str, Any] = {}
    for name, way in ways.items():
        scores = np.array([[way(rich), way(poor)] for rich, poor in pairs])
        found[name], found[f"{name}_interval"] = with_interval([row[None] for row in scores], _parted)
    about = {"slides": 2 * len(pairs), "maps": len(pairs), "cells": CELLS, "swapped": RICH, "k": pairs[0][0].answer.k}
    return found | about | {"tiles": sum(len(one.truth) for pair in pairs for one in pair)}


def _parted(scores: NDArray[np.float64]) -> float:
    """AUROC of the first column over the second."""
    labels = np.repeat([1, 0], len(scores))
    return float(roc_auc_score(labels, scores.T.ravel()))


def tile_figures(studio: Studio, maps: Sequence[int]) -> dict[str, Any]:
    """Tiles that a tissue covers by more than half against all others of the same slides."""
    found = {}
    for tissue in LOCATED:
        parts = []
        for number in maps:
            options = ["--map", str(number), "--swap", f"any:{tissue}:{NODULE[0]}", "--nodule", NODULE[1]]
            one = studio.asked(f"nodule-{number}-{tissue}", [*options, "--seed", str(1000 + number)])
            inside = one.truth[:, TISSUES.index(tissue)] > 0.5
            parts.append(np.stack([one.raw(tissue).astype(np.float64), inside], axis=1))
        auroc, interval = with_interval(parts, _located)
        tiles, positives = sum(map(len, parts)), int(sum(part[:, 1].sum() for part in parts))
        found[tissue] = {
            "auroc": auroc,
            "interval": interval,
            "slides": len(parts),
            "tiles": tiles,
            "inside": positives,
        }
    return found


def _located(rows: NDArray[np.float64]) -> float:
    """AUROC of values [N, 0] for truths [N, 1]; not a number where all are alike."""
    return float(roc_auc_score(rows[:, 1], rows[:, 0])) if 0 < rows[:, 1].mean() < 1 else float("nan")


def with_interval(
    parts: Sequence[NDArray[np.float64]], measure: Callable[[NDArray[np.float64]], float]
) -> tuple[float, list[float]]:
    """A figure, and its 95 % interval where slides (or maps) are drawn anew."""
    rng = np.random.default_rng(0)
    drawn = [
        measure(np.concatenate([parts[k] for k in rng.integers(len(parts), size=len(parts))])) for _ in range(DRAWS)
    ]
    low, high = (round(float(value), 4) for value in np.nanquantile(drawn, [0.025, 0.975]))
    return round(measure(np.concatenate(list(parts))), 4), [low, high]


if __name__ == "__main__":
    main()
