"""What is said beyond the figures that every kind has: decisions, calibration, benefit, curves, follow-up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mil.judging.agreement import confusions, tables
from mil.judging.benefit import net_benefit, useful
from mil.judging.calibration import brier, reliability, slope
from mil.judging.cases import Asked, Cases
from mil.judging.deciding import decisions
from mil.judging.delong import delong
from mil.judging.figure import Json, figure, figures
from mil.judging.ranking import Ranking
from mil.judging.survival import judge_survival
from mil.judging.validation import permutation_p
from mil.metrics import midranks
from mil.tasks.hazard import Hazard
from mil.tasks.task import Kind, Task

POINTS: Final = 300
"""Of a curve in a report: more are not seen."""
FEW: Final = 100
"""Below so many cases the p of a permutation stands beside the interval."""


def _binary(task: Task, cases: Cases, asked: Asked) -> Json:
    del task
    truth = cases.targets[:, 0]
    several = np.unique(truth).size == 2
    areas = delong(truth, cases.scores[None], cases.cluster) if several else None
    nothing = figure(np.nan, reason="all cases are of one class")
    return {
        "positives": int(truth.sum()),
        "prevalence": float(truth.mean()),
        "delong": nothing if areas is None else figure(float(areas.auroc[0]), *areas.interval()),
        "permutation_p": _permuted(cases, asked) if several and len(cases) < FEW else None,
        "decisions": decisions(cases, asked),
        "calibration": calibration(cases, truth, cases.probabilities[:, 0], asked),
        "benefit": _benefit(truth, cases.probabilities[:, 0]),
        "curves": _thinned(Ranking(truth, cases.scores).curve()) if several else None,
    }


def calibration(cases: Cases, truth: NDArray[np.float64], probability: NDArray[np.float64], asked: Asked) -> Json:
    """Judge the probabilities of one class.

    Args:
        cases: Whose target is known.
        truth: 0 or 1 [N].
        probability: Of 1 [N].
        asked: How.

    Returns:
        `ece`, `max_ce`, `bins`, the figure `brier` and its `parts`, and the figures `slope` and `intercept`.
    """
    bins, miss = reliability(truth, probability), (probability - truth) ** 2
    resampling = asked.resampling(cases, truth.astype(np.int64))
    estimate = resampling.intervals(lambda weights: (weights @ miss / weights.sum(1))[:, None])
    return {
        "ece": bins.ece,
        "max_ce": bins.worst,
        "bins": {"said": bins.said, "seen": bins.seen, "n": bins.n},
        "brier": figures(["brier"], estimate)["brier"],
        "parts": brier(truth, probability),
        **slope(truth, probability, cases.cluster),
    }


def _permuted(cases: Cases, asked: Asked) -> float:
    ranks = midranks(cases.scores)
    return permutation_p(lambda y: float(ranks @ y), cases.targets[:, 0], cases.cluster, seed=asked.seed)


def _benefit(truth: NDArray[np.float64], probability: NDArray[np.float64]) -> Json:
    curve = net_benefit(truth, probability)
    return {**curve, "useful": useful(curve)}


def _thinned(curve: dict[str, NDArray[np.float64]]) -> Json:
    size = curve["recall"].size
    kept = np.unique(np.linspace(0, size - 1, min(size, POINTS)).round().astype(np.int64))
    return {name: values[kept] for name, values in curve.items()}


def _classes(task: Task, cases: Cases, asked: Asked) -> Json:
    truth, said = cases.targets[:, 0].astype(np.int64), cases.probabilities.argmax(axis=1)
    table = tables(truth, said, len(task.classes), np.ones((1, truth.size)))[0]
    each = {
        name: calibration(cases, (truth == k).astype(np.float64), cases.probabilities[:, k], asked)
        for k, name in enumerate(task.classes)
    }
    sure, right = cases.probabilities.max(axis=1), (truth == said).astype(np.float64)
    top = reliability(right, sure)
    return {
        "classes": list(task.classes),
        "table": table.astype(np.int64),
        "confusions": confusions(table, task.classes),
        "calibration": {
            "top_ece": top.ece,
            "top_bins": {"said": top.said, "seen": top.seen, "n": top.n},
            "log_loss": float(-np.log(np.maximum(cases.probabilities[np.arange(truth.size), truth], 1e-12)).mean()),
            "classes": each,
        },
    }


def _values(task: Task, cases: Cases, asked: Asked) -> Json:
    del task, asked
    truth, said = cases.targets[:, 0], cases.probabilities[:, cases.probabilities.shape[1] // 2]
    kept = np.unique(np.linspace(0, truth.size - 1, min(truth.size, 2 * POINTS)).round().astype(np.int64))
    return {"pairs": {"truth": truth[kept], "said": said[kept]}, "mean": float(truth.mean())}


def _follow_up(task: Task, cases: Cases, asked: Asked) -> Json:
    curves, other = isinstance(task, Hazard), asked.reference
    return {
        "survival": judge_survival(
            cases.targets[:, 0],
            cases.targets[:, 1],
            cases.scores,
            cases.probabilities if curves else None,
            np.asarray(task.edges) if isinstance(task, Hazard) else None,
            train=None if other is None else (other.targets[:, 0], other.targets[:, 1], other.scores),
            patients=cases.patients,
            draws=asked.count,
            seed=asked.seed,
        )
    }


DETAILS: Final[dict[Kind, Callable[[Task, Cases, Asked], Json]]] = {
    "binary": _binary,
    "multilabel": _binary,
    "multiclass": _classes,
    "ordinal": _classes,
    "regression": _values,
    "survival": _follow_up,
}
"""By kind; of several labels or tasks, one at a time."""
