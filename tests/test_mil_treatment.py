"""A predictive score is told from a prognostic one, and what treatment did is found under known confounding."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from mil.errors import MetricError
from mil.judging.treatment import judge_treatment
from mil.judging.treatment_cases import read_treated
from mil.judging.treatment_evalue import e_value, risk_ratio_of_hazards
from mil.judging.treatment_logistic import logistic
from mil.judging.treatment_uplift import qini, qini_coefficient
from mil.judging.treatment_weighting import weigh

COUNT = 1200


def chance(logit: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(1 / (1 + np.exp(-logit)))


def trial(prognostic: float, predictive: float) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Treatment by lot, outcome yes or no: treated, outcome, score."""
    random = np.random.default_rng(4)
    score, treated = random.normal(size=COUNT), random.random(COUNT) < 0.5
    logit = -0.5 + prognostic * score + predictive * treated * score
    return treated, random.random(COUNT) < chance(logit), score


def confounded() -> tuple[NDArray[Any], ...]:
    """The sick are treated more and respond less; treatment adds 0.2 to everybody's chance. Age does nothing."""
    random = np.random.default_rng(5)
    sick, age = random.random(COUNT) < 0.5, random.normal(60, 9, COUNT)
    treated = random.random(COUNT) < np.where(sick, 0.8, 0.2)
    outcome = random.random(COUNT) < np.where(sick, 0.2, 0.6) + 0.2 * treated
    return treated, outcome, sick, age


@pytest.mark.parametrize(
    ("prognostic", "predictive", "reading"),
    [
        (0.0, 1.2, "predictive"),
        (1.0, 0.0, "prognostic"),
        (1.0, 1.2, "prognostic and predictive"),
        (0.0, 0.0, "neither"),
    ],
)
def test_predictive_is_told_from_prognostic(prognostic: float, predictive: float, reading: str) -> None:
    found: Any = judge_treatment(*trial(prognostic, predictive), draws=50)
    assert found["interaction"]["reading"] == reading
    low, high = found["interaction"]["predictive"]["interval"]
    assert low < predictive < high
    low, high = found["uplift"]["coefficient"]["interval"]
    assert (low > 0) is (predictive > 0)
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(("predictive", "reading"), [(0.8, "predictive"), (0.0, "neither")])
def test_follow_up_tells_them_apart_too(predictive: float, reading: str) -> None:
    treated, _, score = trial(0, 0)
    random = np.random.default_rng(6)
    times = random.exponential(np.exp(-predictive * treated * score))
    found: Any = judge_treatment(treated, times < 2, score, times=np.minimum(times, 2))
    assert found["interaction"]["scale"] == "log hazard ratio"
    assert found["interaction"]["reading"] == reading
    assert found["uplift"]["coefficient"]["reason"]
    assert found["effect"]["crude"]["hazard_ratio"]["interval"][0] < 1.2
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("scale", ["odds", "hazards"])
def test_slides_of_one_patient_make_an_interaction_no_surer(scale: str) -> None:
    treated, outcome, score = (column[:200] for column in trial(0.5, 0.5))
    times = np.random.default_rng(8).exponential(np.exp(-score)) if scale == "hazards" else None
    who = [f"p{row}" for row in range(200)]
    once: Any = judge_treatment(treated, outcome, score, times=times, patients=who, draws=10)
    four = [None if column is None else np.tile(column, 4) for column in (treated, outcome, score, times)]
    often: Any = judge_treatment(*four[:3], times=four[3], patients=who * 4, draws=10)  # type: ignore[arg-type]
    widths = [np.diff(found["interaction"]["predictive"]["interval"])[0] for found in (once, often)]
    assert often["interaction"]["predictive"]["value"] == pytest.approx(once["interaction"]["predictive"]["value"], 0.1)
    assert widths[1] == pytest.approx(widths[0], rel=0.25)


def test_weights_recover_the_effect_that_confounding_hides() -> None:
    treated, outcome, sick, age = confounded()
    covariates = {"sick": np.where(sick, "yes", "no"), "age": age}
    found: Any = judge_treatment(treated, outcome, age, covariates, draws=200)
    crude, weighted = found["effect"]["crude"]["risk_difference"], found["effect"]["weighted"]["risk_difference"]
    assert crude["interval"][1] < 0.1
    assert weighted["interval"][0] < 0.2 < weighted["interval"][1]
    table = {row["covariate"]: row for row in found["weighting"]["balance"]}
    assert found["adjusted_for"] == ["sick=no", "age"]
    assert abs(table["sick=no"]["before"]) > 0.8
    assert all(abs(row["after"]) < 0.05 for row in table.values())
    assert found["weighting"]["effective_n"]["treated"] < treated.sum()
    ratio = found["effect"]["weighted"]["risk_ratio"]["value"]
    assert found["effect"]["weighted"]["e_value"]["estimate"] == pytest.approx(ratio + np.sqrt(ratio * (ratio - 1)))


def test_weights_recover_a_hazard_ratio() -> None:
    treated, _, sick, age = confounded()
    times = np.random.default_rng(7).exponential(np.exp(-np.log(4) * sick - np.log(0.5) * treated))
    found: Any = judge_treatment(treated, times < 3, age, {"sick": sick.astype(float)}, times=np.minimum(times, 3))
    crude, weighted = (found["effect"][name]["hazard_ratio"] for name in ("crude", "weighted"))
    assert crude["value"] > 0.75
    assert weighted["value"] == pytest.approx(
        0.57, abs=0.1
    )  # a marginal ratio is nearer to 1 than the 0.5 within groups
    assert weighted["interval"][1] < 0.75


def test_scikit_learn_fits_the_same_logistic_model() -> None:
    treated, outcome, score = trial(1.0, 0.5)
    design = np.column_stack([score, treated, np.ones(COUNT)])
    weights = np.stack([np.ones(COUNT), np.random.default_rng(0).integers(0, 3, COUNT)]).astype(float)
    ours, _ = logistic(weights, design, outcome)
    for row, weight in zip(ours, weights, strict=True):
        theirs = LogisticRegression(C=np.inf, tol=1e-10, fit_intercept=False).fit(design, outcome, sample_weight=weight)
        np.testing.assert_allclose(row, theirs.coef_[0], atol=1e-5)


def test_standard_errors_are_those_of_the_information_matrix() -> None:
    labels = np.array([True] * 30 + [False] * 70)
    value, covariance = logistic(np.ones((1, 100)), np.ones((100, 1)), labels)
    assert value[0, 0] == pytest.approx(np.log(30 / 70))
    assert covariance[0, 0, 0] == pytest.approx(1 / 30 + 1 / 70, rel=1e-6)


def test_gain_is_counted_case_by_case() -> None:
    treated, outcome, score = trial(0.5, 1.0)
    score = score.round(1)  # ties are treated together
    cases = read_treated(treated, outcome, score, {}, None)
    share, gained = (curve[0] for curve in qini(np.ones((1, COUNT)), cases))
    for place, cut in enumerate(np.unique(score)[::-1][:40], 1):
        top = score >= cut
        had, had_not = (top & treated).sum(), (top & ~treated).sum()
        expected = (top & treated & outcome).sum() - (top & ~treated & outcome).sum() * had / max(had_not, 1)
        assert share[place] == pytest.approx(top.mean())
        assert gained[place] == pytest.approx(expected / treated.sum())


def test_a_constant_score_gains_nothing() -> None:
    treated, outcome, _ = trial(0.5, 1.0)
    cases = read_treated(treated, outcome, np.zeros(COUNT), {}, None)
    assert qini_coefficient(*qini(np.ones((1, COUNT)), cases))[0] == pytest.approx(0)


def test_e_values_are_those_of_the_paper() -> None:
    smoking = e_value(10.73, [8.02, 14.36])  # VanderWeele & Ding 2017, the example of smoking and lung cancer
    assert smoking == {"estimate": pytest.approx(20.95, abs=0.01), "limit": pytest.approx(15.52, abs=0.01)}
    assert e_value(0.8, [0.71, 0.91]) == {
        "estimate": pytest.approx(1.81, abs=0.01),
        "limit": pytest.approx(1.43, abs=0.01),
    }
    assert e_value(1.2, [0.9, 1.6])["limit"] == 1
    assert risk_ratio_of_hazards(2.0, 0.05) == 2
    assert 1 < risk_ratio_of_hazards(2.0, 0.5) < 2
    assert risk_ratio_of_hazards(0.5, 0.5) == pytest.approx(1 / risk_ratio_of_hazards(2.0, 0.5))


def test_arms_that_nothing_overlaps_have_no_weights_and_say_so() -> None:
    treated, outcome, score = trial(0, 0)
    found: Any = judge_treatment(treated, outcome, score, {"assigned": treated * 2.0}, draws=10)
    json.dumps(found, allow_nan=False)
    assert "without an error" in found["weighting"]["reason"]
    assert found["effect"]["weighted"]["risk_difference"]["reason"]
    assert found["interaction"]["reading"] == "not known"
    assert found["uplift"]["coefficient"]["value"] is None


@pytest.mark.parametrize("times", [None, np.ones(40)])
def test_an_outcome_that_nobody_had_says_why(times: NDArray[Any] | None) -> None:
    half, zeros = np.arange(40) % 2, np.zeros(40)
    found: Any = judge_treatment(half, zeros, np.arange(40.0), times=times, draws=10)
    json.dumps(found, allow_nan=False)
    assert found["interaction"]["predictive"]["reason"]
    ratio = found["effect"]["crude"]["risk_ratio" if times is None else "hazard_ratio"]
    assert ratio["value"] is None
    assert ratio["reason"]


def test_trimmed_weights_let_no_case_decide() -> None:
    treated, outcome, sick, age = confounded()
    far = np.where(np.arange(COUNT) == 0, 400.0, age)
    cases = read_treated(treated, outcome, age, {"sick": sick * 1.0, "age": far}, None)
    weights = weigh(np.ones((1, COUNT)), cases)[0]
    assert (weights == weights.max()).sum() >= 12


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"treated": [1, 1, 1]}, "^Some must have been treated"),
        ({"treated": [0, 2, 1]}, "^Row 2: .* treatment"),
        ({"outcome": [0, 1, float("nan")]}, "^Row 3: .* outcome"),
        ({"score": [0.0, 1.0]}, "as many as each other"),
        ({"times": [1, -1, 1]}, "^Row 2: .* time"),
        ({"covariates": {"age": [1, 2]}}, "^Column age "),
        ({"covariates": {"age": [1, np.nan, 2]}}, "^Row 2: .* age"),
    ],
)
def test_rows_that_cannot_be_judged_are_named(column: dict[str, Any], message: str) -> None:
    call: dict[str, Any] = {"treated": [0, 1, 1], "outcome": [0, 1, 0], "score": [0.0, 1.0, 2.0], **column}
    with pytest.raises(MetricError, match=message):
        judge_treatment(**call)
