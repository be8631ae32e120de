"""Which explanation is what a score rests on? Faithfulness of every method on real slides that no head was fitted to.

Heads learn to tell microsatellite-unstable colorectal cancers from the others on four folds of patients (the example
`docs/examples/msi.toml`); slides of the fifth are explained. Prints a line a head and method, and one JSON object last.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from api.settings import Settings
from mil import Bag, Fit, HeadError, explain_tiles
from mil.experiment.development import prepare
from mil.experiment.fold import fit_fold
from mil.experiment.read import read_experiment
from mil.folds import make_folds
from mil.why.methods import METHODS

ROOT = Path(__file__).resolve().parents[1]
HEADS = ("abmil", "dsmil", "transformer")
LEAST_TILES = 20
"""Of a slide whose tiles are removed in twenty steps."""


def main() -> None:
    """Fit, explain and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slides", type=int, default=40, help="of the held-out fold, at most")
    slides = parser.parse_args().slides
    experiment = read_experiment(ROOT / "docs/examples/msi.toml", Settings().data)
    data = prepare(experiment)
    folds = make_folds(data.patients, data.centres, data.strata, experiment.folds)[0]
    found = {}
    for name in HEADS:
        fit = fit_fold(replace(experiment, head=name, settings=()), data, folds, 0).fit
        held = [data.cohort.bag(int(row)) for row in np.flatnonzero(folds == 0)]
        bags = [bag for bag in held if len(bag) >= LEAST_TILES][:slides]
        found[name] = {method: figures(fit, bags, method) for method in METHODS if gives(fit, bags[0], method)}
        for method, row in found[name].items():
            print(f"{name:12} {method:22} {row['area']:7.3f} logits, random {row['random_sd']:.3f}", flush=True)
    print(json.dumps({"slides": len(bags), "faithfulness": found}))


def gives(fit: Fit, bag: Bag, method: str) -> bool:
    """Whether a head has such a map."""
    try:
        explain_tiles(fit, bag, method)
    except HeadError:
        return False
    return True


def figures(fit: Fit, bags: Sequence[Bag], method: str) -> dict[str, float]:
    """Mean area, mean deviation of random orders, and share of the slides whose area is beyond two of these."""
    each = [explain_tiles(fit, bag, method).faithfulness for bag in bags]
    areas, chance = np.array([one.area for one in each]), np.array([one.random_sd for one in each])
    row = {"area": areas.mean(), "random_sd": chance.mean(), "beyond_chance": (areas > 2 * chance).mean()}
    return {key: round(float(value), 3) for key, value in row.items()}


if __name__ == "__main__":
    main()
