"""Which encoder should be the default: twelve tissues told apart, another stain, blur, and tiles a second.

    python benchmarks/default_encoder.py [--data DIR] [--test DIR] [--quick]

Candidates: mean colour, random weights, (a) handcrafted features, (b) EfficientNet-Lite0 as it is, (c) a small network
trained here, (d) Lite0 adapted here, and combinations. The support set is the train and validation blocks of
`DIR/patches` (tools/_default_data.py: by file number; no slide is known, so neighbours from one slide may stand on both
sides). Judged is the test block, which no training and no choice has seen, or another folder `--test` of the same
layout. Features are scaled by the support's mean and deviation.

knn                  20 nearest neighbours by cosine
balanced_accuracy    a linear probe with classes of equal weight, its ridge chosen on validation; `interval`: 95 %,
                     2000 bootstrap samples within classes
validation           the probe fitted on train alone, judged on validation: what the choice of the default looks at
variants             the probe under fixed other stains (tools/tissue_mosaics.py) and Gaussian blur, sigma in pixels,
                     on every other test patch
zooms                a probe fitted and judged on fields sewn from patches of one tissue, at 0.5 and 1 um/px in 128 px
distinct             the probe on the half of the test patches whose nearest support patch (cosine of Lite0's features)
                     is farthest: what is left when near-duplicates cannot help
by_chance            the same probe where the split is by chance; only where nothing was trained on patches
tiles_per_s_core     by the processor time of one thread, the fastest of 16 batches of 16 tiles in memory; combinations
                     by the sum of times. tiles_per_s_two_threads: the same on two threads, by wall time

The default is a network of ours only if, on the patches judged, the lower 95 % bound of its paired difference to every
candidate without training (a, b, a+b) is above 0; which one of ours is chosen on validation among those of at least
100 tiles a second and core, and a combination only if it is surely better than the best single one
(docs/decisions/0017-default-encoder.md). One JSON object is printed last.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks._default_candidates import CONTROLS, PARTS, TRAINED, core_speed, embed, part, speed
from benchmarks._default_judging import (
    Floats,
    Labels,
    Scaling,
    balanced,
    chosen_strength,
    interval,
    neighbours,
    probe,
    resampled,
)
from benchmarks._default_quilts import quilts
from foundation.tissue import TISSUES
from tools._default_data import Image, Patches, load_patches
from tools.tissue_mosaics import SHIFTS, restained

ROOT = Path(__file__).resolve().parents[1]
Hits = NDArray[np.bool_]
SIGMAS = (0.7, 1.5, 2.5)
ZOOMS = (0.5, 1.0)
TARGET, SPEED = 0.90, 100


@dataclass(frozen=True)
class Sets:
    """The patches of one run."""

    train: Patches
    validation: Patches
    test: Patches
    variants: dict[str, Image]
    """Every other test patch changed: `stain redder`, `blur 1.5`."""
    zooms: dict[float, tuple[Patches, Patches]]
    """Wider fields by um/px, of the support and of the test patches."""


def main(words: Sequence[str] | None = None) -> None:
    """Measure and print."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--data", type=Path, default=Path(os.environ.get("ONCOSCOPE_DATA", ROOT.parent / "shared/data")))
    cli.add_argument("--test", type=Path, help="judge on this folder, [patches/]<tissue>/<name>.jpg")
    cli.add_argument("--quick", action="store_true", help="every third support patch, and fewer variants")
    arguments = cli.parse_args(words)
    if not (arguments.data / "patches").is_dir():
        print(json.dumps({"skipped": "no patches/ in the data folder"}))
        return
    cv2.setNumThreads(1)
    try:
        sets = load_sets(arguments.data / "patches", arguments.test, quick=arguments.quick)
    except ValueError as error:
        cli.error(str(error))
    if missing(sets.test):
        print(f"judged without {', '.join(missing(sets.test))}: no patches of these", file=sys.stderr)
    print(json.dumps(report(sets)))


def load_sets(folder: Path, test: Path | None, *, quick: bool) -> Sets:
    """Read and split the patches, and change the test patches."""
    patches = load_patches(folder)
    train, validation = patches.part("train"), patches.part("validation")
    judged = load_patches(test / "patches" if (test / "patches").is_dir() else test) if test else patches.part("test")
    if quick:
        train, validation = (p[np.arange(len(p.labels)) % 3 == 0] for p in (train, validation))
    half = judged[np.arange(len(judged.labels)) % 2 == 0]
    shifts = {f"stain {name}": [restained(i, c, np.ones(3)) for i in half.images] for name, c in SHIFTS.items()}
    blurs = {f"blur {s}": [cv2.GaussianBlur(i, (0, 0), s) for i in half.images] for s in SIGMAS}
    variants = {} if quick else {name: np.stack(images).astype(np.uint8) for name, images in (shifts | blurs).items()}
    support = Patches(
        np.concatenate([train.images, validation.images]),
        np.concatenate([train.labels, validation.labels]),
        np.concatenate([train.places, validation.places]),
    )
    zooms = {} if quick else {mpp: (quilts(support, mpp, 5), quilts(judged, mpp, 2, seed=1)) for mpp in ZOOMS}
    return Sets(train, validation, judged, variants, zooms)


def missing(patches: Patches) -> list[str]:
    """Tissues that have no patch, and so no part in a balanced accuracy."""
    return [tissue for label, tissue in enumerate(TISSUES) if label not in patches.labels]


@dataclass(frozen=True)
class Embedded:
    """One part's features of every set."""

    train: Floats
    validation: Floats
    test: Floats
    variants: dict[str, Floats]
    zooms: dict[float, tuple[Floats, Floats]]
    core: float
    """Tiles a second on one thread."""
    two: float
    """The same on two."""


def embedded(name: str, sets: Sets) -> Embedded:
    """Embed every set with one part."""
    print(f"embedding with {name}", file=sys.stderr, flush=True)
    encoder = part(name)
    core, two = core_speed(encoder, sets.train.images), speed(encoder, sets.train.images, 2)
    train, validation, test = (embed(encoder, p.images) for p in (sets.train, sets.validation, sets.test))
    variants = {name: embed(encoder, images) for name, images in sets.variants.items()}
    zooms = {mpp: (embed(encoder, s.images), embed(encoder, t.images)) for mpp, (s, t) in sets.zooms.items()}
    return Embedded(train, validation, test, variants, zooms, core, two)


def side_by_side(parts: list[Embedded]) -> Embedded:
    """Features of several parts as one; their times add up."""
    return Embedded(
        np.concatenate([p.train for p in parts], 1),
        np.concatenate([p.validation for p in parts], 1),
        np.concatenate([p.test for p in parts], 1),
        {name: np.concatenate([p.variants[name] for p in parts], 1) for name in parts[0].variants},
        {
            mpp: (
                np.concatenate([p.zooms[mpp][0] for p in parts], 1),
                np.concatenate([p.zooms[mpp][1] for p in parts], 1),
            )
            for mpp in parts[0].zooms
        },
        1 / sum(1 / p.core for p in parts),
        1 / sum(1 / p.two for p in parts),
    )


@dataclass(frozen=True)
class Verdict:
    """What one candidate showed."""

    figures: dict[str, Any]
    hits: Hits
    """Of the probe on each test patch."""


def judged(features: Embedded, sets: Sets, distinct: Hits) -> Verdict:
    """Judge one candidate."""
    labels = np.concatenate([sets.train.labels, sets.validation.labels])
    early = Scaling.of(features.train)
    strength, validation = chosen_strength(
        (early(features.train), sets.train.labels), (early(features.validation), sets.validation.labels)
    )
    support = np.concatenate([features.train, features.validation])
    scaling = Scaling.of(support)
    near = neighbours(scaling(support), labels, scaling(features.test)) == sets.test.labels
    line = probe(scaling(support), labels, strength)
    hits = line.predict(scaling(features.test)) == sets.test.labels
    samples = resampled(np.stack([hits, near]), sets.test.labels)
    variants = {
        v: round(balanced(line.predict(scaling(x)) == sets.test.labels[::2], sets.test.labels[::2]), 4)
        for v, x in features.variants.items()
    }
    figures = {
        "balanced_accuracy": round(balanced(hits, sets.test.labels), 4),
        "interval": interval(samples[0]),
        "knn": round(balanced(near, sets.test.labels), 4),
        "knn_interval": interval(samples[1]),
        "validation": round(validation, 4),
        "ridge": strength,
        "distinct": round(balanced(hits[distinct], sets.test.labels[distinct]), 4),
        "variants": variants,
        "zooms": {f"{mpp:g}": zoomed(features.zooms[mpp], sets.zooms[mpp], strength) for mpp in sets.zooms},
        "dim": features.test.shape[1],
        "tiles_per_s_core": round(features.core, 1),
        "tiles_per_s_two_threads": round(features.two, 1),
    }
    return Verdict(figures, hits)


def zoomed(features: tuple[Floats, Floats], fields: tuple[Patches, Patches], strength: float) -> float:
    """A probe of its own for wider fields."""
    support, test = features
    scaling = Scaling.of(support)
    line = probe(scaling(support), fields[0].labels, strength)
    return round(balanced(line.predict(scaling(test)) == fields[1].labels, fields[1].labels), 4)


def report(sets: Sets) -> dict[str, Any]:
    """All candidates and the winner."""
    parts = {name: embedded(name, sets) for name in sorted({name for names in PARTS.values() for name in names})}
    distinct = far_from_support(parts["lite0"])
    verdicts = {name: judged(side_by_side([parts[p] for p in names]), sets, distinct) for name, names in PARTS.items()}
    figures = {name: verdict.figures for name, verdict in verdicts.items()}
    for name, names in PARTS.items():
        if not TRAINED & set(names):
            whole = side_by_side([parts[p] for p in names])
            figures[name]["by_chance"] = by_chance(whole, sets, figures[name]["ridge"])
    chosen, differences = choice(verdicts, sets.test.labels)
    best = figures[chosen]
    return {
        "candidates": figures,
        "patches": {"support": len(sets.train.labels) + len(sets.validation.labels), "test": len(sets.test.labels)},
        "missing": missing(sets.test),
        "winner": chosen,
        "paired_differences": differences,
        "target_met": best["balanced_accuracy"] >= TARGET and best["tiles_per_s_core"] >= SPEED,
    }


def far_from_support(features: Embedded) -> Hits:
    """The half of the test patches that has the farthest nearest neighbour in the support."""
    support = np.concatenate([features.train, features.validation])
    scaling = Scaling.of(support)
    unit, others = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (scaling(support), scaling(features.test)))
    nearest = (others @ unit.T).max(1)
    return np.asarray(nearest <= np.median(nearest))


def by_chance(features: Embedded, sets: Sets, strength: float) -> float:
    """The probe where a fifth of all patches is drawn by chance and not by block."""
    everything = np.concatenate([features.train, features.validation, features.test])
    labels = np.concatenate([sets.train.labels, sets.validation.labels, sets.test.labels])
    held = np.random.default_rng(0).random(len(labels)) < 0.2
    scaling = Scaling.of(everything[~held])
    line = probe(scaling(everything[~held]), labels[~held], strength)
    return round(balanced(line.predict(scaling(everything[held])) == labels[held], labels[held]), 4)


def choice(verdicts: dict[str, Verdict], labels: Labels) -> tuple[str, dict[str, Any]]:
    """The default by the rule, and the differences it looked at."""
    fast = [name for name, v in verdicts.items() if v.figures["tiles_per_s_core"] >= SPEED]
    ours = [name for name in fast if TRAINED & set(PARTS[name])]
    others = [name for name in PARTS if not TRAINED & set(PARTS[name])]
    untrained = [name for name in others if name not in CONTROLS]
    modest = best_of([name for name in fast if name in untrained] or untrained, verdicts)
    alone = [name for name in ours if len(PARTS[name]) == 1]
    if not alone:
        return modest, {}
    best = best_of(alone, verdicts)
    against = {name: difference(verdicts[best], verdicts[name], labels) for name in others}
    further = {name: difference(verdicts[name], verdicts[best], labels) for name in ours if name not in alone}
    sure = [name for name, (low, _) in further.items() if low > 0]
    winner = best_of(sure, verdicts) if sure else best
    differences = {f"{best} - {name}": ends for name, ends in against.items()}
    differences |= {f"{name} - {best}": ends for name, ends in further.items()}
    return winner if all(low > 0 for low, _ in against.values()) else modest, differences


def difference(one: Verdict, other: Verdict, labels: Labels) -> list[float]:
    """95 % interval of the difference of balanced accuracies on the same patches."""
    first, second = resampled(np.stack([one.hits, other.hits]), labels)
    return interval(first - second)


def best_of(names: list[str], verdicts: dict[str, Verdict]) -> str:
    """The candidate that is best on validation."""
    return max(names, key=lambda name: verdicts[name].figures["validation"])


if __name__ == "__main__":
    main()
