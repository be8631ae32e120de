"""The classic benchmarks of multiple-instance learning, by the protocol of Ilse et al. (ICML 2018): 10 folds, 5 times.

The published figures are recalled from Table 1 of that paper and were not checked against it. One recipe for all sets,
fixed beforehand: every epoch is trained and the last one kept, so nothing is chosen on anything.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks._mil_runs import Bench, accuracy, rounded, toml
from mil import roc_auc
from mil.experiment.development import prepare
from mil.experiment.experiment import Experiment
from mil.experiment.fold import fit_fold
from mil.experiment.folder import RunFolder
from mil.experiment.read import parse_experiment
from mil.folds import make_folds

RECALLED: Final = {
    "musk1": (0.900, 0.050),
    "musk2": (0.863, 0.042),
    "fox": (0.603, 0.029),
    "tiger": (0.845, 0.018),
    "elephant": (0.857, 0.027),
}
"""Accuracy of gated attention and its standard error."""
RECIPE: Final[dict[str, Any]] = {"epochs": 40, "batch": 8, "lr": 5e-4, "tiles": 32, "validation": 0.0, "noise": 0.0}
UCSB_RECIPES: Final[dict[str, dict[str, Any]]] = {"plain": {}, "shrunk": {"noise": 1.0, "weight_decay": 3.0}}
UCSB_HEADS: Final = ("abmil", "dsmil", "transformer", "noisy_or", "instance_max")
OFTEN: Final = 0.02
UCSB: Final = 0.875
"""AUROC of logistic regression on mean-pooled features, measured once before this project; the figure to reach."""


def classic(bench: Bench) -> dict[str, Any]:
    """Gated attention and the linear model on five sets."""
    found = {name: _judge(_run(bench, name, "abmil", "plain", RECIPE)) | _recalled(name) for name in RECALLED}
    for name, own in found.items():
        mean, error = RECALLED[name]
        own["within_one_error"] = own["accuracy"] >= mean - error
    return found | {"sets_within_one_error": sum(own["within_one_error"] for own in found.values())}


def ucsb(bench: Bench) -> dict[str, Any]:
    """Breast cancer cells of UCSB: every way to train is shown, and what choosing the best of them is worth.

    58 bags of 708 features: each head by the recipe of the other sets and by one that shrinks hard. Only one run is
    whole: the linear model is the same beside every head.
    """
    linear = _run(bench, "ucsb_breast_cancer", "mean", "plain", RECIPE)
    truth = linear.out_of_fold().targets[:, 0]
    ways = [(head, recipe) for head in UCSB_HEADS for recipe in UCSB_RECIPES]
    said = np.stack([_folds(bench, head, RECIPE | UCSB_RECIPES[recipe]) for head, recipe in ways])
    worth, chosen = chosen_in_bag(said, truth)
    names = [" ".join(way) for way in ways]
    each = [np.mean([roc_auc(truth, repeat) for repeat in way]) for way in said]
    return {
        "auroc": {name: rounded(area) for name, area in zip(names, each, strict=True)},
        "auroc_of_the_chosen": rounded(worth),
        "chosen": {name: rounded(share) for name, share in zip(names, chosen, strict=True) if share >= OFTEN},
        "mean_and_linear": _judge(linear),
        "to_reach": UCSB,
    }


def _folds(bench: Bench, head: str, training: dict[str, Any]) -> NDArray[np.float32]:
    """Out-of-fold logits of one way [repeats, N]."""
    text = _text("ucsb_breast_cancer", head, training, bench)
    experiment = parse_experiment(text.encode(), lambda _: bench.data.absolute())
    data = prepare(experiment)
    folds = make_folds(data.patients, data.centres, data.strata, experiment.folds)
    pieces = [(experiment, repeat, fold) for repeat in range(len(folds)) for fold in range(int(folds.max()) + 1)]
    logits = np.zeros(folds.shape, np.float32)
    for (_, repeat, _), (rows, said) in zip(pieces, bench.pool.map(judge_fold, pieces), strict=True):
        logits[repeat, rows] = said
    return logits


def judge_fold(piece: tuple[Experiment, int, int]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Fit one member on a worker: its cases, and what it says of them."""
    experiment, repeat, fold = piece
    data = prepare(experiment)
    folds = make_folds(data.patients, data.centres, data.strata, experiment.folds)
    found = fit_fold(experiment, data, folds[repeat], fold)
    return found.rows, found.logits[:, 0]


def chosen_in_bag(
    said: NDArray[np.float32], truth: NDArray[np.float32], draws: int = 500
) -> tuple[float, NDArray[np.float64]]:
    """AUROC of the best of many ways, chosen on cases that do not judge it.

    Tsamardinos, Greasidou and Borboudakis, Machine Learning 107:1895, 2018 (BBC-CV): of out-of-fold scores, the way
    that is best on the cases of a bootstrap sample is judged on the cases outside it.

    Args:
        said: Out-of-fold scores [ways, repeats, N].
        truth: 0 or 1 [N].
        draws: Bootstrap samples of each repeat.

    Returns:
        Mean over samples and repeats, and how often each way was chosen [ways].
    """
    rng, found, chosen = np.random.default_rng(0), [], np.zeros(len(said))
    for repeat in range(said.shape[1]):
        for _ in range(draws):
            bag = rng.integers(len(truth), size=len(truth))
            out = np.setdiff1d(np.arange(len(truth)), bag)
            if len({*truth[out]}) == len({*truth[bag]}) == 2:
                best = int(np.argmax([roc_auc(truth[bag], way[repeat, bag]) for way in said]))
                chosen[best] += 1
                found.append(roc_auc(truth[out], said[best, repeat, out]))
    return float(np.mean(found)), chosen / chosen.sum()


def _run(bench: Bench, name: str, head: str, recipe: str, training: dict[str, Any]) -> RunFolder:
    return bench.run(f"{name}-{head}-{recipe}", _text(name, head, training, bench))


def _text(name: str, head: str, training: dict[str, Any], bench: Bench) -> str:
    return toml({
        "experiment": {"name": name, "purpose": "To compare with published figures."},
        "data": {"root": "ONCOSCOPE_DATA", "bags": f"classic_mil/{name}.npz"},
        "task": {"kind": "binary", "column": "label"},
        "head": {"name": head},
        "training": training,
        "folds": {"by": "patient", "count": 10, "repeats": 1 if bench.fewer else 5},
    })


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
