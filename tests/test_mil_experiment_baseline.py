"""The linear model, its figure and the verdict, against independent implementations."""

from __future__ import annotations

import numpy as np
import pytest
from lifelines import CoxPHFitter
from lifelines.utils import concordance_index
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from mil.experiment.baseline import GRID, _path, fit_baseline
from mil.experiment.card import _verdict
from mil.experiment.compare import _fold_error, compare
from mil.experiment.figure import comparisons, figure_of
from mil.experiment.out_of_fold import OutOfFold
from mil.tasks.binary import Binary
from mil.tasks.cox import Cox
from mil.tasks.multiclass import Multiclass
from mil.tasks.multilabel import Multilabel
from mil.tasks.task import Task
from mil.training.pooled import Pooled

RNG = np.random.default_rng(0)


def pooled(count: int, width: int) -> Pooled:
    return Pooled(RNG.normal(2, 3, (count, width)), RNG.random((count, width)) + 0.1)


def standard(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((values - values.mean(axis=0)) / values.std(axis=0))


@pytest.mark.parametrize("classes", [2, 3])
def test_classes_are_those_of_logistic_regression(classes: int) -> None:
    cases = pooled(80, 4)
    truth = (cases.mean[:, 0] + RNG.normal(0, 2, 80) > 2).astype(np.float32)
    truth += (cases.mean[:, 1] > 4) if classes == 3 else 0
    task: Task = Multiclass(labels=(("0",), ("1",), ("2",))) if classes == 3 else Binary()
    model = _path(task, cases.features, truth[:, None], GRID)[2]
    other = LogisticRegression(C=GRID[2], tol=1e-8, max_iter=1000).fit(standard(cases.features), truth)
    expected = other.predict_proba(standard(cases.features))
    found = task.probabilities(model.of(cases))
    np.testing.assert_allclose(found, expected if classes == 3 else expected[:, 1:], atol=2e-4)


def test_survival_is_that_of_cox_regression_with_a_ridge() -> None:
    cases = pooled(80, 2)
    time = np.round(RNG.exponential(np.exp(-0.3 * cases.mean[:, 0])) * 10 + 1)
    event = (RNG.random(80) < 0.7).astype(float)
    model = _path(Cox(), cases.features, np.stack([time, event], axis=1).astype(np.float32), (1e-2,))[0]
    pandas = pytest.importorskip("pandas")  # comes with lifelines; has no types
    frame = pandas.DataFrame(standard(cases.features), columns=list("abcd")).assign(time=time, event=event)
    other = CoxPHFitter(penalizer=1 / (1e-2 * 80), l1_ratio=0.0).fit(frame, "time", "event")
    np.testing.assert_allclose(model.weights[:, 0], other.params_.to_numpy(), rtol=0.05, atol=1e-3)


def test_the_penalty_is_that_of_the_lowest_held_out_loss() -> None:
    cases, inner = pooled(90, 3), np.arange(90) % 3
    noise = RNG.integers(0, 2, (90, 1)).astype(np.float32)
    clear = (cases.mean[:, :1] > 2).astype(np.float32)
    assert fit_baseline(Binary(), cases, noise, inner).strength[0] <= 1e-3
    assert fit_baseline(Binary(), cases, clear, inner).strength[0] >= 0.1


def test_figures_are_those_of_others() -> None:
    truth, logits = RNG.integers(0, 2, (60, 1)).astype(np.float32), RNG.normal(size=(60, 1)).round(1).astype(np.float32)
    ones = np.ones(60)
    assert figure_of(comparisons(Binary(), truth, logits), ones) == pytest.approx(
        roc_auc_score(truth[:, 0], logits[:, 0])
    )
    survival = np.stack([RNG.integers(1, 20, 60), RNG.integers(0, 2, 60)], axis=1).astype(np.float32)
    found = figure_of(comparisons(Cox(), survival, logits), ones)
    assert found == pytest.approx(concordance_index(survival[:, 0], -logits[:, 0], survival[:, 1]))


def test_a_case_that_counts_twice_is_a_case_that_is_there_twice() -> None:
    truth, logits = RNG.integers(0, 2, (40, 2)).astype(np.float32), RNG.normal(size=(40, 2)).astype(np.float32)
    task, rows = Multilabel(labels=("a", "b")), RNG.integers(0, 40, 40)
    weights = np.bincount(rows, minlength=40).astype(float)
    expected = figure_of(comparisons(task, truth[rows], logits[rows]), np.ones(40))
    assert figure_of(comparisons(task, truth, logits), weights) == pytest.approx(expected)
    assert expected == pytest.approx(np.mean([roc_auc_score(truth[rows, k], logits[rows, k]) for k in range(2)]))


def out_of_fold(head: NDArray[np.float64], linear: NDArray[np.float64], truth: NDArray[np.int64]) -> OutOfFold:
    count, folds = len(truth), (np.arange(len(truth)) % 5)[None]
    both = [values.reshape(1, count, 1).astype(np.float32) for values in (head, linear)]
    names = tuple(f"{i}" for i in range(count))
    targets = truth[:, None].astype(np.float32)
    return OutOfFold(names, names, names, folds, targets, both[0][0], both[1][0], both[0], both[1])


def test_the_head_wins_only_by_more_than_an_error() -> None:
    truth = RNG.integers(0, 2, 200)
    rough = truth + RNG.normal(0, 2.0, 200)
    fine = truth + RNG.normal(0, 0.5, 200)
    assert compare(Binary(), out_of_fold(fine, rough, truth)).winner == "head"
    assert compare(Binary(), out_of_fold(rough, fine, truth)).winner == "baseline"
    assert compare(Binary(), out_of_fold(rough, rough, truth)).winner == "baseline"
    close = compare(Binary(), out_of_fold(truth + RNG.normal(0, 1.95, 200), rough, truth))
    assert (close.difference > close.error) == (close.winner == "head")
    low, high = close.head_interval
    assert low < close.head < high


def test_a_winner_among_models_at_chance_is_not_recommended() -> None:
    truth = RNG.integers(0, 2, 200)
    by_chance = compare(Binary(), out_of_fold(RNG.normal(size=200), -truth + RNG.normal(0, 1, 200), truth))
    assert (by_chance.winner, by_chance.above_chance) == ("head", False)
    assert "Neither is recommended" in _verdict(by_chance.table())
    sound = compare(Binary(), out_of_fold(truth + RNG.normal(0, 0.5, 200), RNG.normal(size=200), truth))
    assert sound.above_chance
    assert "The head" in _verdict(sound.table())


def test_the_error_over_folds_is_widened() -> None:
    folds = tuple({"head": h, "baseline": 0.5, "share": 0.2} for h in (0.6, 0.7, 0.5, 0.8, 0.9))
    variance = np.var([0.1, 0.2, 0.0, 0.3, 0.4], ddof=1)
    assert _fold_error(folds) == pytest.approx(np.sqrt((1 / 5 + 0.25) * variance))
    assert np.isnan(_fold_error(({"head": np.nan, "baseline": 0.5, "share": 0.2}, folds[0])))


def test_folds_without_a_pair_are_left_out() -> None:
    truth = (np.arange(50) % 5 == 0).astype(np.int64)  # all positives in fold 0
    verdict = compare(Binary(), out_of_fold(truth + RNG.normal(0, 0.1, 50), RNG.normal(size=50), truth))
    assert np.isnan(verdict.error_folds)
    assert verdict.winner == "head"
    assert verdict.table()["error_folds"] is None
