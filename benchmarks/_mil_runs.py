"""What the parts of benchmarks/mil.py share: experiments written as TOML, run whole, and figures of what came out."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mil.experiment.folder import RunFolder
from mil.experiment.out_of_fold import OutOfFold
from mil.experiment.read import parse_experiment
from mil.experiment.run import run_experiment
from mil.judging.delong import delong
from tiling.pool import Pool


@dataclass(frozen=True, eq=False)
class Bench:
    """Where data is, where runs go, who trains, and how much of it."""

    data: Path
    out: Path
    pool: Pool
    fewer: bool = False
    """A look at everything in minutes: fewer folds and seeds, so other figures."""
    begun: float = field(default_factory=time.perf_counter)

    def run(self, name: str, text: str) -> RunFolder:
        """Run an experiment; one that is there already is opened.

        Args:
            name: Of its folder.
            text: Its TOML; `root` must be `ONCOSCOPE_DATA`.

        Returns:
            The run.
        """
        experiment = parse_experiment(text.encode(), lambda _: self.data.absolute())
        folder = run_experiment(experiment, text.encode(), self.out / name, self.pool)
        print(f"{time.perf_counter() - self.begun:6.0f} s  {name}", file=sys.stderr, flush=True)
        return folder


def toml(tables: dict[str, dict[str, Any]]) -> str:
    """Write tables of plain values, lists and one-level mappings as TOML."""
    return "\n".join(
        f"[{name}]\n" + "".join(f"{k} = {_value(v)}\n" for k, v in t.items()) for name, t in tables.items()
    )


def _value(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else repr(value)


def tcga(task: dict[str, Any], where: dict[str, list[str]], by: str, bench: Bench, **more: dict[str, Any]) -> str:
    """An experiment on the TCGA bags with gated attention and nothing tuned; patients are cases, seeds two.

    Args:
        task: `[task]`.
        where: Which rows.
        by: `patient` or `centre`.
        bench: Says how much.
        more: Further tables, or keys of these.

    Returns:
        TOML.
    """
    tables: dict[str, dict[str, Any]] = {
        "experiment": {
            "name": "benchmark",
            "purpose": "To measure the method.",
            "seeds": [0] if bench.fewer else [0, 1],
        },
        "data": {
            "root": "ONCOSCOPE_DATA",
            "bags": "bags/tcga_bags.npz",
            "labels": "bags/tcga_labels.csv",
            "unit": "patient",
            "where": where,
        },
        "task": task,
        "head": {"name": "abmil"},
        "folds": {"by": by, "count": 3 if bench.fewer else 5},
    }
    for name, table in more.items():
        tables[name] = tables.get(name, {}) | table
    return toml(tables)


def areas(found: OutOfFold) -> dict[str, dict[str, Any]]:
    """AUROC of head and linear model out of fold, DeLong intervals over patients, and the paired difference."""
    truth = found.targets[:, 0].astype(np.float64)
    both = np.stack([found.logits[:, 0], found.baseline_logits[:, 0]]).astype(np.float64)
    _, cluster = np.unique(found.patients, return_inverse=True)
    judged = delong(truth, both, cluster)
    gap = judged.difference(0, 1)
    return {
        "head": {"auroc": rounded(judged.auroc[0]), "interval": _ends(judged.interval(0))},
        "logistic": {"auroc": rounded(judged.auroc[1]), "interval": _ends(judged.interval(1))},
        "difference": {"value": rounded(gap[0]), "interval": _ends(gap[1:3]), "p": rounded(gap[3])},
    }


def _ends(ends: tuple[float, ...]) -> list[float]:
    return [rounded(end) for end in ends]


def rounded(value: float | np.floating[Any]) -> float:
    """Three digits."""
    return round(float(value), 3)


def accuracy(found: OutOfFold, *, baseline: bool = False) -> NDArray[np.float64]:
    """Share of right answers at a probability of one half, one a repeat."""
    logits = found.baseline_by_repeat if baseline else found.by_repeat
    return np.asarray(((logits[:, :, 0] > 0) == (found.targets[:, 0] == 1)).mean(axis=1), np.float64)
