"""Curves, areas and their intervals agree with scikit-learn and scipy, whatever the ties and however often drawn."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mil.errors import LabelError, MetricError
from mil.judging.bootstrap import Resampling, acceleration
from mil.judging.delong import delong
from mil.judging.ranking import Ranking

Array = NDArray[np.float64]
SEEDS = st.integers(0, 10_000)


def cases(seed: int, n: int = 40, *, tied: bool = True) -> tuple[Array, Array]:
    """Labels of both classes, and scores with a little signal."""
    rng = np.random.default_rng(seed)
    truth = np.concatenate([[0.0, 1.0, 0.0, 1.0], rng.integers(0, 2, n - 4).astype(float)])
    scores = truth + rng.normal(0, 1.5, n)
    return truth, np.round(scores) if tied else scores


@settings(max_examples=25)
@given(SEEDS, st.booleans())
def test_weights_are_cases_that_are_there_as_often(seed: int, tied: bool) -> None:  # noqa: FBT001 - drawn
    truth, scores = cases(seed, tied=tied)
    weights = np.random.default_rng(seed).integers(0, 3, (3, truth.size)).astype(float)
    weights[:, :2] = 1
    got = Ranking(truth, scores).areas(weights)
    for row, (roc, pr) in zip(weights.astype(int), got, strict=True):
        many, said = np.repeat(truth, row), np.repeat(scores, row)
        assert roc == pytest.approx(sklearn.metrics.roc_auc_score(many, said))
        assert pr == pytest.approx(sklearn.metrics.average_precision_score(many, said))


@settings(max_examples=25)
@given(SEEDS, st.booleans(), st.sampled_from([0.9, 0.95, 0.5, 1.0]))
def test_the_curve_is_read_at_its_best_point(seed: int, tied: bool, kept: float) -> None:  # noqa: FBT001 - drawn
    truth, scores = cases(seed, tied=tied)
    ranking, once = Ranking(truth, scores), np.ones((1, truth.size))
    fall, recall, _ = sklearn.metrics.roc_curve(truth, scores, drop_intermediate=False)
    assert ranking.sensitivity_at(kept, once)[0] == pytest.approx(recall[1 - fall >= kept - 1e-9].max())
    assert ranking.specificity_at(kept, once)[0] == pytest.approx((1 - fall)[recall >= kept - 1e-9].max())
    assert ranking.curve()["false_positive_rate"] == pytest.approx(fall)


@pytest.mark.parametrize(
    ("truth", "scores", "error"),
    [([0, 1], [0.1], MetricError), ([0, 1], [0.1, np.nan], MetricError), ([0, 2], [0.1, 0.2], LabelError)],
)
def test_what_cannot_be_ranked_is_refused(truth: list[float], scores: list[float], error: type[Exception]) -> None:
    with pytest.raises(error):
        Ranking(np.array(truth, float), np.array(scores))


def test_a_row_without_a_class_has_no_area() -> None:
    truth, scores = np.array([0.0, 0.0, 1.0]), np.array([0.1, 0.2, 0.3])
    assert np.isnan(Ranking(truth, scores).areas(np.array([[1.0, 1.0, 0.0]]))).all()


def by_pairs(truth: Array, scores: Array) -> tuple[float, float]:
    """AUROC and DeLong's variance from the matrix of all pairs."""
    one, other = scores[truth == 1], scores[truth == 0]
    wins = (one[:, None] > other[None]) + 0.5 * (one[:, None] == other[None])
    return wins.mean(), wins.mean(1).var(ddof=1) / one.size + wins.mean(0).var(ddof=1) / other.size


@settings(max_examples=25)
@given(SEEDS, st.booleans())
def test_delong_is_the_variance_of_all_pairs(seed: int, tied: bool) -> None:  # noqa: FBT001 - drawn
    truth, scores = cases(seed, tied=tied)
    got = delong(truth, scores[None])
    assert (got.auroc[0], got.covariance[0, 0]) == pytest.approx(by_pairs(truth, scores))


@settings(max_examples=15)
@given(SEEDS)
def test_the_paired_test_knows_that_the_cases_are_the_same(seed: int) -> None:
    truth, first = cases(seed, 60, tied=False)
    second = first + np.random.default_rng(seed + 1).normal(0, 0.3, 60)
    both = delong(truth, np.stack([first, second]))
    gap, low, high, p = both.difference()
    assert gap == pytest.approx(both.auroc[0] - both.auroc[1])
    variance = both.covariance[0, 0] + both.covariance[1, 1] - 2 * both.covariance[0, 1]
    if variance > 1e-12:
        assert p == pytest.approx(2 * scipy.stats.norm.sf(abs(gap) / np.sqrt(variance)))
        assert high - low < 2 * 1.96 * np.sqrt(both.covariance[0, 0] + both.covariance[1, 1])
    assert delong(truth, np.stack([first, first])).difference() == pytest.approx((0, 0, 0, 1))


def test_slides_copied_within_a_patient_add_no_certainty() -> None:
    truth, scores = cases(3, 50, tied=False)
    who = np.arange(50)
    once = delong(truth, scores[None], who)
    twice = delong(np.tile(truth, 2), np.tile(scores, 2)[None], np.tile(who, 2))
    blind = delong(np.tile(truth, 2), np.tile(scores, 2)[None])
    assert twice.covariance == pytest.approx(once.covariance)
    assert blind.covariance[0, 0] < 0.6 * once.covariance[0, 0]


def test_a_perfect_ranking_has_no_delong_interval() -> None:
    areas = delong(np.array([0.0, 0, 1, 1]), np.array([[1.0, 2, 3, 4]]))
    assert np.isnan(areas.interval()).all()


def area_of(one: Array, other: Array) -> float:
    pairs = [float(a > b) + 0.5 * float(a == b) for a, b in itertools.product(one, other)]
    return sum(pairs) / len(pairs)


def test_bca_agrees_with_scipy_on_two_strata() -> None:
    truth, scores = cases(11, 60, tied=False)
    resampling = Resampling.of([str(i) for i in range(60)], truth.astype(np.int64), count=4000, seed=1)
    found = resampling.intervals(Ranking(truth, scores).areas)
    value, ends = found.value, found.ends
    split = (scores[truth == 1], scores[truth == 0])
    reference = scipy.stats.bootstrap(split, area_of, n_resamples=2000, vectorized=False, method="BCa", rng=2)
    assert value[0] == pytest.approx(area_of(*split))
    assert ends[:, 0] == pytest.approx(tuple(reference.confidence_interval), abs=0.012)


def test_bca_of_a_skewed_mean_is_not_symmetric_and_agrees_with_scipy() -> None:
    values = np.random.default_rng(5).lognormal(0, 1, size=40)
    resampling = Resampling.of([f"{i:02}" for i in range(40)], np.zeros(40, np.int64), count=999)
    found = resampling.intervals(lambda w: (w @ values / w.sum(1))[:, None])
    value, ends = found.value, found.ends
    drawn = SimpleNamespace(bootstrap_distribution=np.concatenate(list(resampling.draws())) @ values / 40)
    reference = scipy.stats.bootstrap((values,), np.mean, n_resamples=0, method="BCa", bootstrap_result=drawn)
    assert ends[:, 0] == pytest.approx(tuple(reference.confidence_interval), abs=1e-6)
    assert ends[1, 0] - value[0] > value[0] - ends[0, 0]
    left = np.array([np.delete(values, i).mean() for i in range(40)])
    centred = values - values.mean()
    assert acceleration(left, np.zeros(40, np.int64)) == pytest.approx(
        (centred**3).sum() / (6 * (centred**2).sum() ** 1.5)
    )


@settings(max_examples=20)
@given(st.lists(st.integers(0, 6), min_size=3, max_size=25), SEEDS)
def test_patients_are_drawn_whole_and_within_their_stratum(who: list[int], seed: int) -> None:
    patients, strata = [f"p{i}" for i in who], np.array(who, np.int64) % 2
    resampling = Resampling.of(patients, strata, count=20, seed=seed)
    drawn = np.concatenate(list(resampling.draws()))
    again = np.concatenate(list(Resampling.of(patients, strata, count=20, seed=seed).draws()))
    assert (drawn == again).all()
    for patient in set(who):
        rows = np.flatnonzero(np.array(who) == patient)
        assert (drawn[:, rows] == drawn[:, rows[:1]]).all()
    first = [who.index(patient) for patient in sorted(set(who))]
    for stratum in set(strata[first].tolist()):
        members = [row for row in first if strata[row] == stratum]
        assert (drawn[:, members].sum(1) == len(members)).all()
    left = np.concatenate(list(resampling.left_out()))
    assert (left.sum(0) == len(set(who)) - 1).all()


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    rng, area, inside = np.random.default_rng(0), scipy.stats.norm.cdf(1 / np.sqrt(2)), np.zeros(2)
    truth = np.repeat([0.0, 1.0], 30)
    for run in range(150):
        scores = rng.normal(truth)
        resampling = Resampling.of([str(i) for i in range(60)], truth.astype(np.int64), count=300, seed=run)
        ends = resampling.intervals(Ranking(truth, scores).areas).ends
        wald = delong(truth, scores[None]).interval()
        inside += [ends[0, 0] <= area <= ends[1, 0], wald[0] <= area <= wald[1]]
    assert (inside / 150 >= 0.90).all()
    assert (inside / 150 <= 0.99).all()


def test_what_never_varies_has_no_interval() -> None:
    resampling = Resampling.of(["a", "b", "c", "d"], np.array([0, 0, 1, 1]), count=50)
    ends = resampling.intervals(Ranking(np.array([0.0, 0, 1, 1]), np.array([1.0, 2, 3, 4])).areas).ends
    assert np.isnan(ends).all()


def test_a_difference_that_is_always_on_one_side_has_a_small_p() -> None:
    rng = np.random.default_rng(0)
    values = np.stack([rng.normal(2, 1, 30), rng.normal(0, 1, 30)], axis=1)
    resampling = Resampling.of([str(i) for i in range(30)], np.zeros(30, np.int64), count=199)
    p = resampling.intervals(lambda w: w @ (values - [0, values[:, 1].mean()]) / 30).p
    assert p[0] == pytest.approx(2 / 200)
    assert p[1] > 0.5


def test_resamples_without_a_figure_do_not_make_a_difference_surer() -> None:
    resampling = Resampling.of([str(i) for i in range(30)], np.zeros(30, np.int64), count=199)
    first = lambda w: np.where(w[:, :1] > 0, w[:, :1], np.nan)  # noqa: E731 - a figure that a third of resamples lack
    found = resampling.intervals(first)
    assert found.value[0] == 1
    assert np.isnan(found.p[0])
