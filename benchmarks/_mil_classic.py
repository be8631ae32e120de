"""The classic benchmarks of multiple-instance learning, by the protocol of Ilse et al. (ICML 2018): 10 folds, 5 times.

The published figures are recalled from Table 1 of that paper and were not checked against it. One recipe for all sets,
fixed beforehand: every epoch is trained and the last one kept, so nothing is chosen on anything.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from benchmarks._mil_runs import Bench, accuracy, rounded, toml
from mil import HEADS, roc_auc
from mil.experiment.folder import RunFolder

RECALLED: Final = {
    "musk1": (0.900, 0.050),
    "musk2": (0.863, 0.042),
    "fox": (0.603, 0.029),
    "tiger": (0.845, 0.018),
    "elephant": (0.857, 0.027),
}
"""Accuracy of gated attention and its standard error."""
RECIPE: Final = {"epochs": 40, "batch": 8, "lr": 5e-4, "tiles": 32, "validation": 0.0, "noise": 0.0}
UCSB: Final = 0.875
"""AUROC of logistic regression on mean-pooled features, measured once before this project; the figure to reach."""


def classic(bench: Bench) -> dict[str, Any]:
    """Gated attention and the linear model on five sets."""
    found = {name: _judge(_run(bench, name, "abmil")) | _recalled(name) for name in RECALLED}
    for name, own in found.items():
        mean, error = RECALLED[name]
        own["within_one_error"] = own["accuracy"] >= mean - error
    return found | {"sets_within_one_error": sum(own["within_one_error"] for own in found.values())}


def ucsb(bench: Bench) -> dict[str, Any]:
    """Breast cancer cells of UCSB: every head by the same recipe, and the mean of them all; none is chosen."""
    runs = {head: _run(bench, "ucsb_breast_cancer", head) for head in HEADS}
    tables = [run.out_of_fold() for run in runs.values()]
    said = np.mean([1 / (1 + np.exp(-table.by_repeat[:, :, 0])) for table in tables], axis=0)
    together = [roc_auc(tables[0].targets[:, 0], repeat) for repeat in said]
    found = {head: _judge(run) for head, run in runs.items()}
    return {"heads": found, "all_heads_together_auroc": rounded(np.mean(together)), "to_reach": UCSB}


def _run(bench: Bench, name: str, head: str) -> RunFolder:
    text = toml({
        "experiment": {"name": name, "purpose": "To compare with published figures."},
        "data": {"root": "ONCOSCOPE_DATA", "bags": f"classic_mil/{name}.npz"},
        "task": {"kind": "binary", "column": "label"},
        "head": {"name": head},
        "training": RECIPE,
        "folds": {"by": "patient", "count": 10, "repeats": 1 if bench.fewer else 5},
    })
    return bench.run(f"{name}-{head}", text)


def _recalled(name: str) -> dict[str, Any]:
    return {"recalled_accuracy": RECALLED[name][0], "recalled_error": RECALLED[name][1]}


def _judge(run: RunFolder) -> dict[str, Any]:
    """Mean and deviation over repeats."""
    found = run.out_of_fold()
    truth = found.targets[:, 0]

    def area(logits: np.ndarray) -> float:
        return rounded(np.mean([roc_auc(truth, repeat[:, 0]) for repeat in logits]))

    right, linear = accuracy(found), accuracy(found, baseline=True)
    return {
        "accuracy": rounded(right.mean()),
        "deviation": rounded(right.std()),
        "auroc": area(found.by_repeat),
        "logistic_accuracy": rounded(linear.mean()),
        "logistic_auroc": area(found.baseline_by_repeat),
    }
