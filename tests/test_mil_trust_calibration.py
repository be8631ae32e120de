"""Calibration agrees with scikit-learn's, keeps the order of cases, and is chosen by what it does on cases held out."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.calibration import _SigmoidCalibration
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from mil.errors import CalibrationError, CheckpointError
from mil.tasks.binary import Binary
from mil.trust.affine import Affine, fit_affine
from mil.trust.beta import Beta, fit_beta
from mil.trust.calibrate import Calibration, calibrate
from mil.trust.isotonic import Isotonic, fit_isotonic
from mil.trust.losses import question_loss, smoothed, softplus
from mil.trust.parts import parts_of
from mil.trust.questions import questions_of
from mil.trust.tables import from_table, to_table

TASK = Binary()
(ASKED,) = questions_of(TASK)


def cases(
    count: int, slope: float = 1.0, shift: float = 0.0, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float32], list[str]]:
    """Logits whose truth is drawn from `slope * logit + shift`; a patient a case."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (count, 1))
    truth = rng.random((count, 1)) < 1 / (1 + np.exp(-(slope * logits + shift)))
    return logits, truth.astype(np.float32), [str(row) for row in range(count)]


def test_platt_agrees_with_scikit_learn() -> None:
    logits, targets, _ = cases(150, 0.4, -1.0)
    ours = fit_affine(question_loss(ASKED, targets, smooth=True), logits, 1)
    theirs = _SigmoidCalibration().fit(logits[:, 0], targets[:, 0])
    assert ours.slope == pytest.approx(-theirs.a_, rel=1e-3)
    assert ours.shifts[0] == pytest.approx(-theirs.b_, rel=1e-3)


def test_temperature_is_the_slope_of_a_logistic_regression_without_intercept() -> None:
    logits, targets, _ = cases(400, 0.5)
    ours = fit_affine(question_loss(ASKED, targets, smooth=False), logits, 0)
    theirs = LogisticRegression(C=1e6, fit_intercept=False).fit(logits, targets[:, 0])
    assert ours.slope == pytest.approx(theirs.coef_[0, 0], rel=1e-3)
    assert ours.shifts == (0.0,)


def test_beta_is_a_logistic_regression_on_both_logs() -> None:
    logits, targets, _ = cases(600, 0.7, 0.5, seed=3)
    ours = fit_beta(question_loss(ASKED, targets, smooth=False), logits)
    parts = np.column_stack([-softplus(-logits), softplus(logits)])
    theirs = LogisticRegression(C=1e6, tol=1e-8).fit(parts, targets[:, 0])
    assert (theirs.coef_ > 0).all()
    assert (ours.yes, ours.no) == pytest.approx(tuple(theirs.coef_[0]), abs=2e-2)
    assert Beta(1.0, 1.0, 0.0)(logits) == pytest.approx(logits)


def test_isotonic_agrees_with_scikit_learn() -> None:
    logits, targets, _ = cases(300, 0.5)
    ours = fit_isotonic(logits, targets[:, 0].astype(np.int64))(logits)[:, 0]
    edge = 1 / 302
    theirs = IsotonicRegression(y_min=0, y_max=1).fit(logits[:, 0], targets[:, 0]).predict(logits[:, 0])
    assert 1 / (1 + np.exp(-ours)) == pytest.approx(np.clip(theirs, edge, 1 - edge), abs=1e-9)


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.integers(3, 60))
def test_no_map_turns_the_order_of_cases(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 10 ** rng.uniform(-3, 3), (count, 1))
    targets = (rng.permutation(count) < rng.integers(1, count)).astype(np.float32)[:, None]
    loss = question_loss(ASKED, targets, smooth=True)
    grid = np.sort(logits, axis=0)
    maps: list[Affine | Beta | Isotonic] = [
        fit_affine(loss, logits, 0),
        fit_affine(loss, logits, 1),
        fit_beta(loss, logits),
    ]
    maps.append(fit_isotonic(logits, targets[:, 0].astype(np.int64)))
    for found in maps:
        after = found(grid)
        assert np.isfinite(after).all()
        assert (np.diff(after[:, 0]) >= -1e-9).all()


def test_separable_cases_are_not_sharpened_without_end() -> None:
    logits = np.linspace(-1, 1, 40)[:, None]
    targets = (logits > 0).astype(np.float32)
    found = fit_affine(question_loss(ASKED, targets, smooth=True), logits, 1)
    highest = 1 / (1 + np.exp(-found(logits).max()))
    assert highest < 0.9999
    assert smoothed(np.array([0, 0, 1]), 2).tolist() == [[0.75, 0.25], [0.75, 0.25], [1 / 3, 2 / 3]]


def test_a_shift_is_fitted_only_where_it_helps_patients_held_out() -> None:
    plain = calibrate(ASKED, *cases(300, 0.5))
    shifted = calibrate(ASKED, *cases(300, 0.5, -1.5))
    assert plain.method == "temperature"
    assert shifted.method == "Platt"
    assert shifted.after is not None
    assert shifted.after < shifted.before - 0.1
    assert str(shifted).startswith("Platt on 300 patients out of fold; log loss ")


def staircase(count: int) -> Calibration:
    """Chosen where the truth is a staircase that no smooth curve follows."""
    rng = np.random.default_rng(0)
    logits = rng.uniform(-4, 4, (count, 1))
    chance = np.where(np.abs(logits) < 2, 0.5, np.where(logits > 0, 0.98, 0.02))
    targets = (rng.random((count, 1)) < chance).astype(np.float32)
    return calibrate(ASKED, logits, targets, [str(row) for row in range(count)])


def test_a_free_curve_is_fitted_only_to_patients_enough() -> None:
    assert staircase(1000).method == "isotonic"
    assert staircase(999).method != "isotonic"


def test_a_free_curve_is_not_fitted_where_it_only_follows_noise() -> None:
    found = calibrate(ASKED, *cases(1100))
    assert found.method == "temperature"
    assert found.after == pytest.approx(found.before, abs=0.005)


def test_beta_is_chosen_where_noes_and_yeses_are_wrong_by_different_amounts() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (600, 1))
    targets = (rng.random((600, 1)) < 1 / (1 + np.exp(-Beta(2.0, 0.1, 0.0)(logits)))).astype(np.float32)
    people = [str(row) for row in range(600)]
    assert calibrate(ASKED, logits, targets, people).method == "beta"
    assert calibrate(ASKED, logits[:199], targets[:199], people[:199]).method != "beta"


def test_few_patients_are_calibrated_without_a_figure() -> None:
    logits, people = np.array([[1.0], [-1.0], [-2.0]]), ["a", "b", "c"]
    found = calibrate(ASKED, logits, np.array([[1.0], [0.0], [0.0]], np.float32), people)
    assert (found.method, found.patients, found.after) == ("temperature", 3, None)
    assert str(found) == "temperature on 3 patients out of fold"


def test_one_class_only_is_refused_saying_so() -> None:
    targets = np.array([[1.0], [1.0], [np.nan]], np.float32)
    with pytest.raises(CalibrationError, match="two classes out of fold; the 2 known are of 1"):
        calibrate(ASKED, np.zeros((3, 1)), targets, ["a", "b", "c"])


@settings(max_examples=20)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 2)), min_size=1, max_size=40), st.integers(0, 5))
def test_parts_keep_patients_whole_and_hold_every_class(rows: list[tuple[int, int]], seed: int) -> None:
    patients, truth = [str(p) for p, _ in rows], np.array([t for _, t in rows])
    part = parts_of(patients, truth, seed)
    for patient in set(patients):
        assert len({part[row] for row, other in enumerate(patients) if other == patient}) == 1
    assert part.max() < 5
    if part.max():
        rarest = min(set(truth.tolist()), key=lambda kind: (truth == kind).sum())
        owners = {patient for patient, kind in zip(patients, truth, strict=True) if kind == rarest}
        assert len(owners) > 1


def test_a_patient_of_two_classes_counts_for_the_rarer() -> None:
    assert parts_of(list("aabcde"), np.array([0, 1, 1, 0, 0, 0])).max() == 1
    assert parts_of(list("aabcde"), np.array([0, 0, 1, 0, 0, 0])).max() == 0


def test_patients_must_be_as_many_as_cases() -> None:
    with pytest.raises(CalibrationError, match="as many patients"):
        parts_of(["a"], np.zeros(2, np.int64))


def test_calibrations_go_through_json_and_back() -> None:
    for found in (
        Calibration("Platt", Affine(0.5, (1.0,)), 3, 0.5, None),
        Calibration("beta", Beta(0.5, 1.0, 2.0), 300, 0.5, 0.25),
        Calibration("isotonic", fit_isotonic(np.arange(4.0)[:, None], np.array([0, 1, 0, 1])), 1000, 0.5, 0.25),
    ):
        assert from_table(Calibration, json.loads(json.dumps(to_table(found)))) == found


@pytest.mark.parametrize(
    "change",
    [{"map": {"slope": 1.0}}, {"patients": 1.5}, {"before": float("nan")}, {"extra": 1}, {"after": "x"}, {"method": 1}],
)
def test_a_changed_table_is_refused(change: dict[str, object]) -> None:
    table = to_table(Calibration("Platt", Affine(0.5, (1.0,)), 3, 0.5, None)) | change
    with pytest.raises(CheckpointError, match="Calibration"):
        from_table(Calibration, table)
    with pytest.raises(CheckpointError):
        from_table(Calibration, [])
    with pytest.raises(CheckpointError):
        to_table(3)
