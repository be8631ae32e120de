"""Sets hold the truth as often as they say, in each class; what cannot be excluded is said."""

from __future__ import annotations

import json
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mil.errors import CalibrationError, CheckpointError
from mil.tasks.binary import Binary
from mil.trust.conformal import Conformal, fit_conformal
from mil.trust.coverage import coverage, interval_coverage, wilson
from mil.trust.crosscheck import cross_coverage
from mil.trust.fit import fit_trust
from mil.trust.intervals import Intervals, fit_intervals
from mil.trust.quantile import conformal_quantile
from mil.trust.statements import statements
from mil.trust.trust import Trust
from mil.trust.verdict import verdict

TASK = Binary()


def binary(count: int, seed: int = 0, share: float = 0.2) -> tuple[NDArray[np.float64], NDArray[np.float32], list[str]]:
    rng = np.random.default_rng(seed)
    truth = rng.random(count) < share
    logits = rng.normal(np.where(truth, 1.0, -1.0), 1.0)[:, None]
    return logits, truth.astype(np.float32)[:, None], [str(row) for row in range(count)]


@settings(max_examples=25)
@given(st.lists(st.integers(-20, 20), min_size=1, max_size=40), st.floats(0.02, 0.6))
def test_the_quantile_is_the_order_statistic_of_vovk(values: list[int], alpha: float) -> None:
    people, place = [str(row) for row in range(len(values))], int(np.ceil((len(values) + 1) * (1 - alpha) - 1e-6))
    found = conformal_quantile(np.array(values, np.float64), people, alpha)
    assert found == (sorted(values)[place - 1] if place <= len(values) else None)


def test_cases_of_one_patient_share_his_weight() -> None:
    scores = np.array([0.0, 9.0, 9.0, 9.0, 1.0])
    assert conformal_quantile(scores, ["a", "b", "b", "b", "c"], 0.5) == 1.0  # two of three patients lie below 9
    assert conformal_quantile(scores, list("abcde"), 0.5) == 9.0
    assert conformal_quantile(np.zeros(0), [], 0.5) is None


@pytest.mark.parametrize("alpha", [0.1, 0.3])
def test_each_class_is_covered_as_promised_over_many_draws(alpha: float) -> None:
    held: list[NDArray[np.float64]] = []
    for seed in range(60):
        logits, targets, people = binary(300, seed)
        chances, truth = np.hstack([-logits, logits]) / 20 + 0.5, targets[:, 0].astype(np.int64)
        sets = fit_conformal(chances[:150], truth[:150], people[:150], alpha).sets(chances[150:])
        truth = truth[150:]
        hit = sets[np.arange(150), truth]
        held.append(np.array([hit[truth == 0].mean(), hit[truth == 1].mean()]))
    assert np.mean(held, axis=0) == pytest.approx([1 - alpha, 1 - alpha], abs=0.03)


def test_coverage_of_a_run_is_of_patients_that_sets_did_not_see() -> None:
    logits, targets, people = binary(1500)
    (found,) = cross_coverage(TASK, logits, targets, people)
    assert found["coverage"] == pytest.approx(0.9, abs=0.02)
    assert [part["coverage"] for part in found["by_class"]] == pytest.approx([0.9, 0.9], abs=0.03)
    assert found["single"] + found["either"] + found["neither"] == pytest.approx(1)
    with pytest.raises(CalibrationError, match="two patients of each class"):
        cross_coverage(TASK, logits[:3], np.array([[0], [0], [1]], np.float32), people[:3])


def test_a_class_of_too_few_patients_is_in_every_set_and_this_is_said() -> None:
    logits, targets, people = binary(60, share=0.0)
    targets[:5] = 1
    trust = fit_trust(TASK, logits, targets, people)
    (sets,) = trust.apply(np.array([[-50.0], [50.0]])).sets
    assert sets is not None
    assert sets[:, 1].all()
    assert "5 patients of positive are too few at 90%: every set holds that answer." in statements(trust)


def test_grades_are_sets_without_gaps() -> None:
    sets = Conformal(0.1, (0.5, 0.5, 0.5), (9, 9, 9), contiguous=True)
    chances = np.array([[0.5, 0.0, 0.5], [0.0, 0.9, 0.1], [0.4, 0.3, 0.3]])
    assert sets.sets(chances).tolist() == [[True, True, True], [False, True, False], [False, False, False]]
    assert replace(sets, contiguous=False).sets(chances)[0].tolist() == [True, False, True]


@pytest.mark.parametrize("alpha", [0.0, 1.0, float("nan")])
def test_an_impossible_share_is_refused(alpha: float) -> None:
    with pytest.raises(CalibrationError, match="between 0 and 1"):
        fit_conformal(np.full((2, 2), 0.5), np.array([0, 1]), ["a", "b"], alpha)
    with pytest.raises(CalibrationError, match="between 0 and 1"):
        fit_intervals(np.zeros((2, 1)), np.zeros(2), ["a", "b"], alpha)


def test_unknown_answers_are_nothing_to_fit_to_or_to_judge() -> None:
    none, people = np.array([-1, -1]), ["a", "b"]
    with pytest.raises(CalibrationError, match="there is none"):
        fit_conformal(np.full((2, 2), 0.5), none, people, 0.1)
    with pytest.raises(CalibrationError, match="there is none"):
        fit_intervals(np.zeros((2, 1)), np.full(2, np.nan), people, 0.1)
    with pytest.raises(CalibrationError, match="there is none"):
        coverage(np.ones((2, 2), np.bool_), none, people)
    with pytest.raises(CalibrationError, match="there is none"):
        interval_coverage(np.zeros((2, 2)), np.full(2, np.nan), people)


def test_conformalised_quantiles_cover_where_the_quantiles_did_not() -> None:
    rng = np.random.default_rng(0)
    centre = rng.normal(size=2000)
    truth = centre + rng.normal(size=2000)
    for half in (0.5, 3.0):  # far too narrow, far too wide
        values = np.column_stack([centre - half, centre, centre + half])
        people = [str(row) for row in range(2000)]
        found = fit_intervals(values[:1000], truth[:1000], people[:1000], 0.1)
        judged = interval_coverage(found.ends(values[1000:]), truth[1000:], people[1000:])
        assert judged["coverage"] == pytest.approx(0.9, abs=0.025)
        assert judged["width"] == pytest.approx(2 * 1.645, abs=0.3)
    few = fit_intervals(values[:5], truth[:5], people[:5], 0.1)
    assert few.ends(values[:1]).tolist() == [[-np.inf, np.inf]]
    assert Intervals(0.1, -9.0, 5).ends(np.array([[1.0, 2.0]])).tolist() == [[1.5, 1.5]]


def test_wilson_is_the_set_of_shares_a_score_test_does_not_reject() -> None:
    low, high = wilson(0.9, 50)
    for edge in (low, high):
        z = abs(0.9 - edge) / np.sqrt(edge * (1 - edge) / 50)
        assert z == pytest.approx(NormalDist().inv_cdf(0.975))
    assert wilson(0.0, 0) == (0.0, 1.0)


def test_coverage_weighs_patients_not_slides() -> None:
    sets = np.array([[True, False], [False, True], [False, True], [False, False]])
    found = coverage(sets, np.array([0, 0, 0, -1]), ["a", "b", "b", "c"])
    assert (found["patients"], found["coverage"], found["size"], found["right"]) == (2, 0.5, 1.0, 0.5)
    assert found["by_class"][1] == {"patients": 0, "coverage": None, "interval": None}


def test_trust_goes_through_json_and_says_the_same() -> None:
    logits, targets, people = binary(200)
    trust = fit_trust(TASK, logits, targets, people)
    again = Trust.from_table(json.loads(json.dumps(trust.to_table(), allow_nan=False)), TASK)
    assert again == trust
    assert again.apply(logits).probabilities.tolist() == trust.apply(logits).probabilities.tolist()
    table = trust.to_table()
    for key in ("conformal", "calibrations", "intervals"):
        with pytest.raises(CheckpointError, match="another task"):
            Trust.from_table(table | {key: []}, TASK)
    wide = json.loads(json.dumps(table))
    wide["calibrations"][0]["map"] = {"slope": 1.0, "shifts": [0.0, 0.0]}
    with pytest.raises(CheckpointError, match="another task"):
        Trust.from_table(wide, TASK)
    table["conformal"][0]["thresholds"] = [0.5, 0.5, 0.5]
    with pytest.raises(CheckpointError, match="another task"):
        Trust.from_table(table, TASK)


def test_members_are_averaged_after_calibration_and_may_be_missing() -> None:
    logits, targets, people = binary(200)
    trust = fit_trust(TASK, logits, targets, people)
    one = trust.apply(logits[:2])
    assert one.spread is None
    several = np.stack([logits[:2], logits[:2] + 1.0, np.array([[np.nan], [3.0]])])
    found = trust.apply(several)
    each = np.stack([trust.calibrated(member) for member in several])
    assert found.logits[0, 0] == pytest.approx(each[:2, 0, 0].mean())
    assert found.logits[1, 0] == pytest.approx(each[:, 1, 0].mean())
    assert found.spread is not None
    assert found.spread[0, 0] == pytest.approx(each[:2, 0, 0].std(ddof=1))
    same = trust.apply(np.stack([logits, logits]))
    assert same.information[0] == pytest.approx(np.zeros(200), abs=1e-12)
    assert found.information[0] is not None
    assert (found.information[0] > 0).all()
    with pytest.raises(CalibrationError, match="Case 1 "):
        trust.apply(np.array([[[0.0], [np.nan]]]))
    with pytest.raises(CalibrationError, match="1 logits a case"):
        trust.apply(np.zeros((2, 2)))


def test_arrays_that_do_not_fit_are_refused() -> None:
    logits, targets, people = binary(20)
    with pytest.raises(CalibrationError, match="need 1 logits and 1 targets"):
        fit_trust(TASK, logits, targets, people[:19])
    logits[7] = np.nan
    with pytest.raises(CalibrationError, match="Case 7 "):
        fit_trust(TASK, logits, targets, people)


def test_a_verdict_is_an_answer_or_says_why_not() -> None:
    logits, targets, people = binary(400)
    trust = fit_trust(TASK, logits, targets, people)
    found = trust.apply(np.array([[5.0], [-5.0], [0.0]]))
    assert [verdict(found, case).state for case in range(3)] == ["answer", "answer", "refer"]
    assert verdict(found, 0).text.startswith("positive: no other answer is left, each being left out wrongly in 10%")
    assert verdict(found, 1).text.startswith("negative: no other")
    assert verdict(found, 2).reasons in {("it could be negative or positive",), ("the score is like that of no class",)}
    far = verdict(found, 0, outlying=("60 % of its tiles are outlying",))
    assert (far.state, far.text) == ("not evaluable", "not evaluable, because 60 % of its tiles are outlying")
    apart = verdict(trust.apply(np.array([[[90.0]], [[-5.0]], [[-5.0]]])), 0)
    assert apart.text == "refer, because 67% of the members of the ensemble do not say positive"
    with pytest.raises(CalibrationError, match="no case 3"):
        verdict(found, 3)
