"""Whether the head is worth it: it must beat the linear model by more than one standard error.

Two errors are taken of the paired difference, and the larger counts. Over folds, whose training sets overlap, the
variance is widened as in Nadeau & Bengio, "Inference for the Generalization Error", Machine Learning 52, 2003:
(1 / J + n_test / n_train) times that of the J differences. Over patients, by drawing them anew with replacement.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from mil.experiment.figure import comparisons, figure_name, figure_of
from mil.experiment.out_of_fold import OutOfFold
from mil.judging.validation import corrected_error
from mil.tasks.task import Task

DRAWS = 500
"""Of the bootstrap: its standard error is then known to about 3 %."""
INTERVAL = (2.5, 97.5)
"""Percentiles."""
CHANCE = 0.5


@dataclass(frozen=True)
class Verdict:
    """Head against linear model, out of fold."""

    figure: str
    """What is compared, larger for better."""
    head: float
    """Mean over repeats, all cases of one together."""
    head_interval: tuple[float, float]
    """95 %, over patients."""
    baseline: float
    baseline_interval: tuple[float, float]
    difference: float
    """Head less linear model."""
    error_folds: float
    """NaN with fewer than two folds in which the figure can be computed."""
    error_patients: float
    winner: str
    """`head` or `baseline`."""
    folds: tuple[dict[str, float], ...]
    """Figures of each fold of each repeat."""

    @property
    def error(self) -> float:
        """The larger standard error."""
        return float(np.nanmax([self.error_folds, self.error_patients]))

    @property
    def above_chance(self) -> bool:
        """Whether the winner's interval lies above .5, which is what chance gets in every figure here."""
        return (self.head_interval if self.winner == "head" else self.baseline_interval)[0] > CHANCE

    def table(self) -> dict[str, object]:
        """What strict JSON can hold.

        Returns:
            All fields; None for what is not a number.
        """
        return {name: _plain(value) for name, value in asdict(self).items()} | {
            "error": _plain(self.error),
            "above_chance": self.above_chance,
        }


def compare(task: Task, found: OutOfFold) -> Verdict:
    """Judge the head beside the linear model.

    Args:
        task: Settled.
        found: What both said out of fold.

    Returns:
        The verdict: the head wins only by more than one standard error.
    """
    both = [
        [comparisons(task, found.targets, logits) for logits in by_repeat]
        for by_repeat in (found.by_repeat, found.baseline_by_repeat)
    ]

    def figures(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array([np.mean([figure_of(pairs, weights) for pairs in repeats]) for repeats in both])

    whole = figures(np.ones(len(found.cases)))
    drawn = np.array([figures(weights) for weights in _draws(found.patients)])
    low, high = np.nanpercentile(drawn, INTERVAL, axis=0)
    folds = _by_fold(task, found)
    over_folds, over_patients = _fold_error(folds), float(np.nanstd(drawn[:, 0] - drawn[:, 1], ddof=1))
    difference = float(whole[0] - whole[1])
    error = float(np.nanmax([over_folds, over_patients]))
    return Verdict(
        figure=figure_name(task),
        head=float(whole[0]),
        head_interval=(float(low[0]), float(high[0])),
        baseline=float(whole[1]),
        baseline_interval=(float(low[1]), float(high[1])),
        difference=difference,
        error_folds=over_folds,
        error_patients=over_patients,
        winner="head" if difference > error else "baseline",
        folds=folds,
    )


def _draws(patients: tuple[str, ...]) -> list[NDArray[np.float64]]:
    """How often each case counts when patients are drawn with replacement."""
    names, owner = np.unique(patients, return_inverse=True)
    rng = np.random.default_rng(0)
    return [rng.multinomial(len(names), np.full(len(names), 1 / len(names)))[owner].astype(float) for _ in range(DRAWS)]


def _by_fold(task: Task, found: OutOfFold) -> tuple[dict[str, float], ...]:
    entries = []
    for repeat, folds in enumerate(found.folds):
        for fold in np.unique(folds):
            rows = np.flatnonzero(folds == fold)
            said = (found.by_repeat[repeat][rows], found.baseline_by_repeat[repeat][rows])
            pair = [figure_of(comparisons(task, found.targets[rows], logits), np.ones(len(rows))) for logits in said]
            about = {"repeat": repeat, "fold": int(fold), "cases": len(rows), "share": len(rows) / len(folds)}
            entries.append(about | {"head": pair[0], "baseline": pair[1]})
    return tuple(entries)


def _fold_error(folds: tuple[dict[str, float], ...]) -> float:
    """Nadeau & Bengio's standard error of the mean difference over folds."""
    judged = [fold for fold in folds if not np.isnan(fold["head"] + fold["baseline"])]
    if len(judged) < 2:
        return float("nan")
    differences = np.array([fold["head"] - fold["baseline"] for fold in judged])
    share = float(np.mean([fold["share"] for fold in judged]))
    return corrected_error(differences, share / (1 - share))


def _plain(value: object) -> object:
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return None if isinstance(value, float) and np.isnan(value) else value
