"""Rates, calibration, benefit, agreement and values agree with scikit-learn, scipy and counting by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mil.errors import CalibrationError, MetricError
from mil.judging.agreement import agreement, confusions, quadratic_kappa, tables
from mil.judging.benefit import net_benefit, useful
from mil.judging.calibration import brier, reliability, slope
from mil.judging.decisions import RATES, confusion, predictive_values, rates, wilson
from mil.judging.figure import clean, figure
from mil.judging.threshold import RULES, choose, cross_fitted
from mil.judging.values import agreement_of_values, coverage

SEEDS = st.integers(0, 10_000)


@settings(max_examples=25)
@given(SEEDS)
def test_rates_are_those_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = np.concatenate([[0, 1], rng.integers(0, 2, 20)]).astype(float)
    said = rng.integers(0, 2, 22).astype(bool)
    weights = np.concatenate([[1, 1], rng.integers(0, 3, 20)]).astype(float)
    got = dict(zip(RATES, rates(confusion(truth, said, weights[None]))[0], strict=True))
    y, z = np.repeat(truth, weights.astype(int)), np.repeat(said, weights.astype(int)).astype(float)
    assert got["balanced_accuracy"] == pytest.approx(sklearn.metrics.balanced_accuracy_score(y, z))
    assert got["mcc"] == pytest.approx(sklearn.metrics.matthews_corrcoef(y, z))
    assert got["f1"] == pytest.approx(sklearn.metrics.f1_score(y, z))
    assert got["sensitivity"] == pytest.approx(sklearn.metrics.recall_score(y, z))
    assert got["specificity"] == pytest.approx(sklearn.metrics.recall_score(1 - y, 1 - z))
    if z.any() and not z.all():
        assert got["ppv"] == pytest.approx(sklearn.metrics.precision_score(y, z))
        assert got["npv"] == pytest.approx(sklearn.metrics.precision_score(1 - y, 1 - z))


@given(st.integers(0, 40), st.integers(1, 40))
def test_wilson_is_that_of_scipy(hits: int, more: int) -> None:
    reference = scipy.stats.binomtest(hits, hits + more).proportion_ci(method="wilson")
    assert wilson(hits, hits + more) == pytest.approx((reference.low, reference.high), abs=1e-9)


def test_predictive_values_at_the_prevalence_of_the_cases_are_those_of_the_cases() -> None:
    counts = np.array([[30.0, 10, 5, 55]])
    got = dict(zip(RATES, rates(counts)[0], strict=True))
    values = predictive_values(np.array([got["sensitivity"], 0]), np.array([got["specificity"], 1]), 0.35)
    assert (values[0][0], values[1][0]) == pytest.approx((got["ppv"], got["npv"]))
    assert math.isnan(values[0][1])


@settings(max_examples=25)
@given(SEEDS, st.sampled_from(RULES))
def test_a_threshold_keeps_what_its_rule_says(seed: int, rule: str) -> None:
    rng = np.random.default_rng(seed)
    truth = np.concatenate([[0, 1], rng.integers(0, 2, 30)]).astype(float)
    scores = np.round(truth + rng.normal(0, 1, 32), 1)
    said = choose(rule, truth, scores, ["other"] * 32).apply(scores, ["p"] * 32)
    sensitivity, specificity = rates(confusion(truth, said, np.ones((1, 32))))[0, :2]
    cuts = np.append(scores, np.inf)
    options = [((scores >= c)[truth == 1].mean(), (scores < c)[truth == 0].mean()) for c in cuts]
    kind, _, percent = rule.partition("_")
    kept = int(percent or 0) / 100 - 1e-9
    if kind == "youden":
        assert sensitivity + specificity == pytest.approx(max(a + b for a, b in options))
    elif kind == "specificity":
        assert specificity >= kept
        assert sensitivity == pytest.approx(max(a for a, b in options if b >= kept))
    else:
        assert sensitivity >= kept
        assert specificity == pytest.approx(max(b for a, b in options if a >= kept))


def test_a_threshold_refuses_a_patient_it_was_chosen_on() -> None:
    threshold = choose("youden", np.array([0.0, 1.0]), np.array([0.1, 0.9]), ["a", "b"])
    with pytest.raises(MetricError, match="Row 2: ") as caught:
        threshold.apply(np.array([0.5, 0.5]), ["c", "b"])
    assert "'b'" not in str(caught.value)
    with pytest.raises(MetricError, match="no rule"):
        choose("best", np.array([0.0, 1.0]), np.array([0.1, 0.9]), ["a", "b"])


def test_thresholds_of_a_fold_come_from_the_others() -> None:
    truth = np.array([0.0, 1, 0, 1, 0, 1, 0, 1])
    scores = np.array([0.0, 1, 0, 1, 10, 11, 10, 11])
    folds, who = np.repeat([0, 1], 4), [str(i) for i in range(8)]
    said, used = cross_fitted("youden", truth, scores, who, folds)
    assert [t.cut for t in used] == [10.5, 0.5]
    assert said.tolist() == [False] * 4 + [True] * 4
    assert used[0].chosen_on == frozenset("4567")
    with pytest.raises(MetricError, match="chosen on this patient"):
        cross_fitted("youden", truth, scores, ["0", *who[1:4], "0", *who[5:]], folds)


def test_one_class_to_choose_on_cuts_in_the_middle() -> None:
    assert choose("youden", np.ones(3), np.array([1.0, 2, 3]), ["a", "b", "c"]).cut == 0


@settings(max_examples=20)
@given(SEEDS)
def test_calibration_bins_hold_all_cases_and_what_they_hold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p = np.round(rng.uniform(size=150), 2)
    y = (rng.uniform(size=150) < p).astype(float)
    bins = reliability(y, p)
    assert bins.n.sum() == 150
    assert bins.n.max() <= 10 + 8  # ties of two digits are not parted
    assert bins.n @ bins.said == pytest.approx(p.sum())
    assert bins.n @ bins.seen == pytest.approx(y.sum())
    assert 0 <= bins.ece <= bins.worst <= 1
    parts = brier(y, p)
    assert parts["score"] == pytest.approx(sklearn.metrics.brier_score_loss(y, p))
    total = parts["reliability"] - parts["resolution"] + parts["uncertainty"] + parts["within"]
    assert parts["score"] == pytest.approx(total)
    assert brier(y, np.full(150, y.mean()))["skill"] == pytest.approx(0)


def test_calibration_error_by_hand() -> None:
    p, y = np.array([0.2] * 10 + [0.8] * 10), np.array([1.0] * 3 + [0] * 7 + [1] * 8 + [0] * 2)
    bins = reliability(y, p)
    assert bins.n.tolist() == [10, 10]
    assert (bins.ece, bins.worst) == pytest.approx((0.05, 0.1))
    parts = brier(y, p)
    assert (parts["reliability"], parts["within"]) == pytest.approx((0.005, 0), abs=1e-12)
    with pytest.raises(CalibrationError):
        reliability(np.zeros(0), np.zeros(0))


def test_slope_finds_what_was_done_to_the_odds() -> None:
    rng = np.random.default_rng(2)
    odds = rng.normal(size=3000)
    y = (rng.uniform(size=3000) < 1 / (1 + np.exp(-odds))).astype(float)
    got = slope(y, 1 / (1 + np.exp(-2 * odds)), np.arange(3000))
    assert got["slope"]["interval"][0] < 0.5 < got["slope"]["interval"][1]
    assert got["intercept"]["interval"][0] < 0 < got["intercept"]["interval"][1]

    def nll(b: NDArray[np.float64]) -> float:
        z = b[0] * 2 * odds + b[1]
        return float(np.logaddexp(0, z).sum() - y @ z)

    assert got["slope"]["value"] == pytest.approx(scipy.optimize.minimize(nll, [1, 0]).x[0], abs=1e-3)
    twice = slope(np.tile(y, 2), np.tile(1 / (1 + np.exp(-2 * odds)), 2), np.tile(np.arange(3000), 2))
    assert twice["slope"]["interval"] == pytest.approx(got["slope"]["interval"], abs=1e-9)


@pytest.mark.parametrize(
    ("y", "p"), [([0, 0, 1, 1], [0.5] * 4), ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]), ([1, 1, 1, 1], [0.1, 0.2, 0.8, 0.9])]
)
def test_a_slope_that_cannot_be_had_says_so(y: list[float], p: list[float]) -> None:
    got = slope(np.array(y, float), np.array(p), np.arange(4))["slope"]
    assert got["value"] is None
    assert got["reason"]


@settings(max_examples=20)
@given(SEEDS)
def test_net_benefit_is_counted(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p, y = np.round(rng.uniform(size=30), 2), rng.integers(0, 2, 30).astype(float)
    curve = net_benefit(y, p)
    for at, model, everybody in zip(curve["at"], curve["model"], curve["all"], strict=True):
        yes = p >= at
        harm = at / (1 - at)
        assert model == pytest.approx((yes & (y == 1)).sum() / 30 - (yes & (y == 0)).sum() / 30 * harm)
        assert everybody == pytest.approx(y.mean() - (1 - y.mean()) * harm)


def test_where_a_model_is_useful() -> None:
    y = np.array([0.0, 0, 1, 1])
    assert useful(net_benefit(y, np.array([0.3, 0.3, 0.7, 0.7]))) == [[0.31, 0.7]]
    assert useful(net_benefit(y, np.array([0.7, 0.7, 0.3, 0.3]))) == []


@settings(max_examples=20)
@given(SEEDS)
def test_agreement_of_classes_is_that_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = np.concatenate([[0, 1, 2], rng.integers(0, 3, 30)])
    said = np.where(rng.uniform(size=33) < 0.5, truth, rng.integers(0, 3, 33))
    table = tables(truth, said, 3, np.ones((1, 33)))
    assert table[0] == pytest.approx(sklearn.metrics.confusion_matrix(truth, said))
    assert agreement(table)[0] == pytest.approx([
        (truth == said).mean(),
        sklearn.metrics.balanced_accuracy_score(truth, said),
        sklearn.metrics.f1_score(truth, said, average="macro"),
        sklearn.metrics.matthews_corrcoef(truth, said),
    ])
    reference = sklearn.metrics.cohen_kappa_score(truth, said, weights="quadratic")
    assert quadratic_kappa(table)[0] == pytest.approx(reference)


def test_the_worst_confusion_comes_first() -> None:
    table = np.array([[5.0, 1, 0], [3, 6, 0], [0, 0, 4]])
    assert confusions(table, ["a", "b", "c"]) == [
        {"truth": "b", "said": "a", "n": 3, "share": pytest.approx(1 / 3)},
        {"truth": "a", "said": "b", "n": 1, "share": pytest.approx(1 / 6)},
    ]


@settings(max_examples=20)
@given(SEEDS)
def test_values_agree_with_scipy_when_drawn_several_times(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = np.round(rng.normal(5, 2, 25), 1)
    said = np.round(truth + rng.normal(0, 1, 25), 1)
    weights = rng.integers(0, 3, (2, 25))
    weights[:, :5] = 1
    for row, got in zip(weights, agreement_of_values(truth, said, weights.astype(float)), strict=True):
        y, z = np.repeat(truth, row), np.repeat(said, row)
        assert got == pytest.approx([
            sklearn.metrics.r2_score(y, z),
            scipy.stats.pearsonr(y, z).statistic,
            scipy.stats.spearmanr(y, z).statistic,
            np.abs(y - z).mean(),
        ])


def test_values_without_variance_have_no_correlation() -> None:
    got = agreement_of_values(np.full(7, 0.1), np.arange(7.0) / 3, np.ones((1, 7)))[0]
    assert np.isnan(got).tolist() == [True, True, True, False]


def test_coverage_is_counted() -> None:
    got = coverage(np.array([1.0, 2, 3]), np.array([0.0, 2, 4]), np.array([1.0, 4, 5]), np.array([[1.0, 1, 2]]))
    assert got[0] == pytest.approx([0.5, 5 / 4])


def test_what_is_not_finite_is_null_with_a_reason() -> None:
    assert figure(math.nan)["reason"] == "not defined for these cases"
    document = clean({"a": np.array([1.0, np.nan]), 2: np.float32(np.inf), "b": (np.int64(3), "x", None, True)})
    assert json.loads(json.dumps(document, allow_nan=False)) == {"a": [1, None], "2": None, "b": [3, "x", None, True]}
