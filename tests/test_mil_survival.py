"""Figures of survival are what their definitions say, whatever the ties, and what does not exist says why."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import lifelines
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lifelines.utils import concordance_index
from numpy.typing import NDArray

from mil.errors import MetricError
from mil.extra import library
from mil.judging.survival import judge_survival
from mil.judging.survival_brier import brier
from mil.judging.survival_concordance import concordance, dynamic_auc
from mil.judging.survival_outcomes import Outcomes, read_outcomes
from mil.judging.survival_predicted import breslow
from mil.judging.survival_product_limit import censoring_steps, survival_steps

Triple = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]
CASES = st.lists(st.tuples(st.integers(0, 6), st.booleans(), st.integers(-2, 2)), min_size=2, max_size=14)
FEW = settings(max_examples=40)
FEWER = settings(max_examples=15)


def made(count: int, seed: int, slope: float = 1.0) -> Triple:
    """Exponential times of a known log hazard ratio, censored at random; times until, events, risk."""
    random = np.random.default_rng(seed)
    risk = random.normal(size=count)
    times, last = random.exponential(np.exp(-slope * risk)), random.exponential(1.5, size=count)
    return np.minimum(times, last), times <= last, risk


def outcomes_of(cases: list[tuple[int, bool, int]]) -> Outcomes:
    return read_outcomes(*(list(column) for column in zip(*cases, strict=True)))


def g_before(outcomes: Outcomes, time: float) -> float:
    """Probability of not being censored before a time, by its definition."""
    left = 1.0
    for moment in np.unique(outcomes.times[outcomes.times < time]):
        there = (outcomes.times > moment) | ((outcomes.times == moment) & ~outcomes.events)
        if there.any():
            left *= 1 - (there & (outcomes.times == moment)).sum() / there.sum()
    return left


def c_by_pairs(outcomes: Outcomes, weigh: Callable[[int], float]) -> float:
    won = total = 0.0
    for i in np.flatnonzero(outcomes.events).tolist():
        for j in range(len(outcomes)):
            later = outcomes.times[j] > outcomes.times[i]
            if later or (outcomes.times[j] == outcomes.times[i] and not outcomes.events[j]):
                total += weigh(i)
                won += weigh(i) * (0.5 * (outcomes.risk[i] == outcomes.risk[j]) + (outcomes.risk[i] > outcomes.risk[j]))
    return won / total if total else np.nan


def all_of(outcomes: Outcomes, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Every statistic, one row a weighting."""
    free = censoring_steps(weights, outcomes)
    harrell, uno = concordance(weights, outcomes, free.before(outcomes.times), 5.0)
    grid = np.array([1.0, 2.5, 4.0])
    auc = dynamic_auc(weights, outcomes, free.before(outcomes.times), grid)
    curves = np.exp(-np.outer(np.exp(outcomes.risk), grid))
    errors = brier(weights, outcomes, curves, grid, uncensored=free, everyone=survival_steps(weights, outcomes))
    return np.column_stack([harrell, uno, auc, errors.score, errors.reference, *errors.integrated()])


@FEW
@given(CASES)
def test_harrell_and_uno_are_shares_of_pairs(cases: list[tuple[int, bool, int]]) -> None:
    outcomes = outcomes_of(cases)
    ones = np.ones((1, len(outcomes)))
    free = censoring_steps(ones, outcomes).before(outcomes.times)
    harrell, uno = concordance(ones, outcomes, free, 5.0)
    np.testing.assert_allclose(harrell[0], c_by_pairs(outcomes, lambda _: 1.0))
    weigh = [(t < 5.0) / max(g_before(outcomes, t), 1e-300) ** 2 for t in outcomes.times]
    np.testing.assert_allclose(uno[0], c_by_pairs(outcomes, weigh.__getitem__))


@FEW
@given(CASES, st.data())
def test_a_weighting_of_whole_numbers_is_repeating_the_rows(cases: list[tuple[int, bool, int]], data: Any) -> None:  # noqa: ANN401
    outcomes = outcomes_of(cases)
    counts = data.draw(st.lists(st.integers(0, 3), min_size=len(cases), max_size=len(cases)).filter(any))
    again = outcomes_of([case for case, count in zip(cases, counts, strict=True) for _ in range(count)])
    weighed = all_of(outcomes, np.array([counts], np.float64))
    np.testing.assert_allclose(weighed, all_of(again, np.ones((1, len(again)))), atol=1e-12)


@FEWER
@given(CASES)
def test_lifelines_draws_the_same_curve(cases: list[tuple[int, bool, int]]) -> None:
    outcomes = outcomes_of(cases)
    at = np.array([0.0, 0.5, 2.0, 3.0, 6.0])
    theirs = lifelines.KaplanMeierFitter().fit(outcomes.times, outcomes.events).predict(at)
    np.testing.assert_allclose(survival_steps(np.ones((1, len(outcomes))), outcomes).at(at)[0], theirs)


def test_lifelines_ranks_the_same() -> None:
    times, events, risk = made(80, 1)
    ours = judge_survival(times, events, risk, draws=20)["harrell_c"]
    assert isinstance(ours, dict)
    assert ours["value"] == pytest.approx(concordance_index(times, -risk, events))


@FEW
@given(CASES)
def test_auc_and_brier_are_what_their_definitions_say(cases: list[tuple[int, bool, int]]) -> None:
    outcomes, grid = outcomes_of(cases), np.array([0.0, 1.5, 3.0])
    ones = np.ones((1, len(outcomes)))
    steps = censoring_steps(ones, outcomes)
    curves = np.exp(-np.outer(np.exp(outcomes.risk), grid))
    auc = dynamic_auc(ones, outcomes, steps.before(outcomes.times), grid)[0]
    found = brier(ones, outcomes, curves, grid, uncensored=steps, everyone=survival_steps(ones, outcomes))
    for column, time in enumerate(grid.tolist()):
        watched = [row for row in range(len(outcomes)) if outcomes.times[row] > time]
        died = np.flatnonzero(outcomes.events & (outcomes.times <= time)).tolist()
        weight = {row: 1 / g_before(outcomes, outcomes.times[row]) for row in died}
        risk = outcomes.risk
        won = sum(weight[i] * (0.5 * (risk[i] == risk[j]) + (risk[i] > risk[j])) for i in died for j in watched)
        pairs = sum(weight.values()) * len(watched)
        np.testing.assert_allclose(auc[column], won / pairs if pairs else np.nan)
        error = sum(weight[row] * curves[row, column] ** 2 for row in died)
        error += sum((1 - curves[row, column]) ** 2 for row in watched) / max(g_before(outcomes, time + 0.1), 1e-300)
        if watched:
            np.testing.assert_allclose(found.score[0, column], error / len(outcomes))


def test_the_baseline_is_that_of_lifelines() -> None:
    pd = library("pandas")
    times, events, x = made(60, 3)
    model = lifelines.CoxPHFitter().fit(pd.DataFrame({"t": times, "e": events, "x": x}), "t", "e")
    slope = float(model.params_["x"])
    at, new = np.sort(times[events])[[2, 20, -2]], np.array([-1.0, 2.0])  # between them, lifelines draws straight lines
    ours = breslow(Outcomes(times, events, slope * x), slope * new)(at)
    np.testing.assert_allclose(ours, model.predict_survival_function(pd.DataFrame({"x": new}), times=at).T, rtol=1e-6)


def test_a_right_model_is_found_calibrated_and_a_hopeful_one_is_not() -> None:
    times, events, risk = made(400, 5)
    grid = np.linspace(0.1, 2, 20)
    for factor, right in ((1.0, True), (0.5, False)):
        curves = np.exp(-factor * np.outer(np.exp(risk), grid))
        found: Any = judge_survival(times, events, risk, curves, grid, horizons=[0.5], draws=200)
        low, high = found["calibration"][0]["observed_to_expected"]["interval"]
        assert (low < 1 < high) if right else low > 1.2
        assert (found["brier"]["skill"]["interval"][0] > 0.1) is right


def test_a_score_of_noise_does_not_beat_the_curve_of_everyone() -> None:
    times, events, _ = made(300, 6)
    noise = np.random.default_rng(1).normal(size=300)
    found: Any = judge_survival(times, events, noise, train=made(300, 7), draws=200)
    assert found["brier"]["skill"]["value"] < 0
    assert found["harrell_c"]["interval"][0] < 0.5 < found["harrell_c"]["interval"][1]
    assert found["curves"]["log_rank"]["p"] > 0.01
    json.dumps(found, allow_nan=False)


def test_slides_of_a_patient_are_drawn_together() -> None:
    times, events, risk = made(30, 12)
    twice: Any = judge_survival(*(np.repeat(column, 4) for column in (times, events, risk)), draws=300)
    one = [str(patient) for patient in np.repeat(np.arange(30), 4)]
    held: Any = judge_survival(*(np.repeat(column, 4) for column in (times, events, risk)), draws=300, patients=one)
    wide, narrow = (np.ptp(found["harrell_c"]["interval"]) for found in (held, twice))
    assert wide > 1.4 * narrow
    assert (held["patients"], held["n"]) == (30, 120)


def test_thirds_are_cut_on_training_cases() -> None:
    times, events, risk = made(90, 8)
    alone: Any = judge_survival(times, events, risk, draws=5)
    assert [group["n"] for group in alone["curves"]["groups"]] == [30, 30, 30]
    assert alone["curves"]["log_rank"]["p"] < 0.01
    moved: Any = judge_survival(times, events, risk, train=(times, events, risk - 9), draws=5)
    assert [(group["group"], group["n"]) for group in moved["curves"]["groups"]] == [("high", 90)]
    assert moved["curves"]["log_rank"]["reason"] == "all cases are in one group"
    tied: Any = judge_survival(times, events, [0] * 40 + [1] * 10 + [2] * 40, draws=5)
    assert [(group["group"], group["n"]) for group in tied["curves"]["groups"]] == [("low", 40), ("middle", 50)]
    assert (alone["fixed_on"], moved["fixed_on"]) == ("these cases", "training cases")


@pytest.mark.parametrize(
    ("times", "events"),
    [([1, 2, 3, 4], [0, 0, 0, 0]), ([0, 0, 0, 0], [1, 1, 0, 1]), ([5, 5, 5, 5], [1, 1, 1, 1]), ([2], [1])],
    ids=["no event", "all at zero", "all at once", "one case"],
)
def test_what_does_not_exist_says_why(times: list[int], events: list[int]) -> None:
    found: Any = judge_survival(times, events, range(len(times)), train=made(40, 9), draws=20)
    json.dumps(found, allow_nan=False)
    missing = [found["uno_c"], *found["auc"], found["brier"]["skill"]]
    missing += [part["observed_to_expected"] for part in found["calibration"] if not part["groups"]]
    assert all(part["reason"] for part in missing if part["value"] is None)
    assert found["uno_c"]["value"] is None


def test_times_that_hardly_anybody_reaches_are_not_judged() -> None:
    times, events, risk = made(100, 10)
    late = times > np.quantile(times, 0.6)
    found: Any = judge_survival(times, events & ~late, risk, train=made(100, 11), horizons=[0.3, 50.0], draws=20)
    assert found["auc"][0]["value"] is not None
    assert found["auc"][1]["reason"] == "hardly anybody is watched so long"
    given: Any = judge_survival(times, events, risk, [[0.5, 0.1]] * 100, [0.3, 50.0], draws=5)
    assert given["brier"]["times"] == [0.3]


@pytest.mark.parametrize(
    ("columns", "row"),
    [(([1, -1], [1, 0], [0, 0]), 2), (([1, 1], [2, 0], [0, 0]), 1), (([1, 1], [1, 0], [0, np.nan]), 2)],
)
def test_rows_that_cannot_be_judged_are_named(columns: tuple[list[float], ...], row: int) -> None:
    with pytest.raises(MetricError, match=rf"^Row {row}: "):
        judge_survival(*columns)


@pytest.mark.parametrize("columns", [([1], [1, 0], [0, 0]), ([], [], [])])
def test_columns_must_fit_together(columns: tuple[list[float], ...]) -> None:
    with pytest.raises(MetricError, match="as many as each other"):
        judge_survival(*columns)


@pytest.mark.parametrize(
    ("survival", "grid"),
    [([[0.5], [1.5]], [1]), ([[0.5], [0.5]], [1, 2]), ([[0.5] * 2] * 2, [2, 1]), ([[1], [1]], None)],
)
def test_curves_that_are_none_are_refused(survival: list[list[float]], grid: list[float] | None) -> None:
    with pytest.raises(MetricError):
        judge_survival([1, 2], [1, 0], [0, 1], survival, grid)
