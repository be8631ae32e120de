"""Every kind of task gets the corrections that its output has room for, and says which it has none for."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from mil.errors import CalibrationError
from mil.tasks.binary import Binary
from mil.tasks.cox import Cox
from mil.tasks.hazard import Hazard
from mil.tasks.multiclass import Multiclass
from mil.tasks.multilabel import Multilabel
from mil.tasks.multitask import Member, Multitask
from mil.tasks.ordinal import Ordinal
from mil.tasks.regression import Regression
from mil.tasks.task import Task
from mil.trust.affine import Affine
from mil.trust.crosscheck import cross_coverage
from mil.trust.fit import fit_trust
from mil.trust.statements import statements
from mil.trust.trust import Trust
from mil.trust.verdict import verdict

COUNT = 500
PEOPLE = [str(row) for row in range(COUNT)]
CLASSES = Multiclass(labels=(("a",), ("b",), ("c",)))


def multiclass() -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Logits that are three times too sure and shifted."""
    rng = np.random.default_rng(0)
    honest = rng.normal(0, 1.5, (COUNT, 3))
    chances = np.exp(honest) / np.exp(honest).sum(axis=1, keepdims=True)
    truth = (chances.cumsum(axis=1) > rng.random((COUNT, 1))).argmax(axis=1)
    return honest * 3 + np.array([0.0, 3.0, -3.0]), truth[:, None].astype(np.float32)


def ordinal() -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    rng = np.random.default_rng(1)
    hidden = rng.normal(size=COUNT)
    truth = np.digitize(hidden + rng.logistic(0, 0.3, COUNT), [-0.5, 0.5])
    return np.column_stack([5 * hidden + 1, np.full(COUNT, 1.0)]), truth[:, None].astype(np.float32)


def regression() -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    rng = np.random.default_rng(2)
    hidden = rng.normal(size=COUNT)
    return hidden[:, None], (10 * (hidden + rng.normal(size=COUNT)))[:, None].astype(np.float32)


def test_multiclass_is_calibrated_with_a_shift_a_class() -> None:
    logits, targets = multiclass()
    trust = fit_trust(CLASSES, logits, targets, PEOPLE)
    (found,) = trust.corrections.calibrations
    assert found is not None
    assert isinstance(found.map, Affine)
    assert found.method == "temperature with shifts"
    assert found.map.slope == pytest.approx(1 / 3, abs=0.06)
    assert np.diff(found.map.shifts) == pytest.approx([-1.0, 2.0], abs=0.4)
    (judged,) = cross_coverage(CLASSES, logits, targets, PEOPLE)
    assert [part["coverage"] for part in judged["by_class"]] == pytest.approx([0.9] * 3, abs=0.04)


def test_grades_are_calibrated_by_their_own_likelihood_and_have_sets_without_gaps() -> None:
    logits, targets = ordinal()
    task = Ordinal()
    trust = fit_trust(task, logits, targets, PEOPLE)
    found = trust.apply(logits)
    above = LogisticRegression(C=1e6).fit(logits[:, :1], targets[:, 0] > 0).predict_proba(logits[:, :1])[:, 1]
    assert 1 - found.probabilities[:, 0] == pytest.approx(above, abs=0.05)
    (sets,) = found.sets
    assert sets is not None
    assert not (sets[:, 0] & ~sets[:, 1] & sets[:, 2]).any()
    (judged,) = cross_coverage(task, logits, targets, PEOPLE)
    assert judged["coverage"] > 0.88


def test_a_regression_gets_intervals_in_its_own_unit() -> None:
    logits, targets = regression()
    task = Regression(spread=10.0)
    (judged,) = cross_coverage(task, logits, targets, PEOPLE)
    assert judged["coverage"] == pytest.approx(0.9, abs=0.02)
    assert judged["width"] == pytest.approx(2 * 16.45, rel=0.12)
    trust = fit_trust(task, logits, targets, PEOPLE)
    said = verdict(trust.apply(np.zeros((1, 1))), 0)
    assert said.state == "score"
    assert said.text.startswith("0, between -1")
    assert statements(trust)[0] == "The output is no probability, so it is not calibrated."
    few = fit_trust(task, logits[:5], targets[:5], PEOPLE[:5])
    assert statements(few)[1] == ("Intervals of 90% on 5 patients out of fold are too few, so intervals have no ends.")


def test_survival_at_the_end_of_each_interval_is_calibrated() -> None:
    rng = np.random.default_rng(3)
    risk = rng.normal(size=COUNT)
    hazard = 1 / (1 + np.exp(-(risk - 1)))
    time = np.minimum(rng.geometric(hazard), 4) - 0.5
    event = (time < 3.5) | (rng.random(COUNT) < hazard)
    targets = np.column_stack([time, event]).astype(np.float32)
    task = Hazard(bins=4, edges=(1.0, 2.0, 3.0, 4.0))
    logits = np.repeat(3 * risk[:, None] + 2, 4, axis=1)
    trust = fit_trust(task, logits, targets, PEOPLE)
    found = trust.apply(logits)
    (map_,) = trust.corrections.calibrations
    assert map_ is not None
    assert isinstance(map_.map, Affine)
    assert map_.map.slope == pytest.approx(1 / 3, abs=0.08)
    assert found.probabilities[:, 1].mean() == pytest.approx((time > 2).mean(), abs=0.03)
    assert found.sets == (None,)
    assert verdict(found, 0).state == "score"
    assert cross_coverage(task, logits, targets, PEOPLE) == [{}]


def test_a_log_hazard_ratio_is_left_alone_and_this_is_said() -> None:
    targets = np.column_stack([np.arange(1.0, 7), [1, 0] * 3]).astype(np.float32)
    trust = fit_trust(Cox(), np.arange(6.0)[:, None], targets, PEOPLE[:6])
    assert trust.apply(np.array([[2.0]])).logits.tolist() == [[2.0]]
    assert statements(trust) == ("The output is no probability, so it is not calibrated.",)


def several() -> tuple[Task, NDArray[np.float64], NDArray[np.float32]]:
    rng = np.random.default_rng(4)
    logits = rng.normal(0, 2, (COUNT, 2))
    targets = (rng.random((COUNT, 2)) < 1 / (1 + np.exp(-logits))).astype(np.float32)
    targets[::3, 0] = np.nan
    return Multilabel(labels=("one", "other")), logits, targets


def test_labels_are_calibrated_one_by_one_on_those_known() -> None:
    task, logits, targets = several()
    trust = fit_trust(task, logits, targets, PEOPLE)
    assert [item.patients for item in trust.corrections.calibrations if item] == [333, 500]
    assert len(cross_coverage(task, logits[:90], targets[:90], PEOPLE[:90])) == 2
    found = verdict(trust.apply(np.array([[9.0, -9.0]])), 0)
    assert found.text.startswith("positive; negative: no other")
    doubt = verdict(trust.apply(np.array([[9.0, 0.0]])), 0)
    assert doubt.reasons[0].endswith("in question 2")


def test_one_of_several_labels_may_lack_a_class_but_not_all() -> None:
    task, logits, targets = several()
    targets[:, 1] = 0
    trust = fit_trust(task, logits, targets, PEOPLE)
    assert trust.corrections.calibrations[1] is None
    sets = trust.apply(logits).sets[1]
    assert sets is not None
    assert sets.all()
    assert "Question 2: Not calibrated, and no answer is excluded, because only one class was seen." in statements(
        trust
    )
    targets[:] = 0
    with pytest.raises(CalibrationError, match="no label has them"):
        fit_trust(task, logits, targets, PEOPLE)


def test_each_task_of_several_has_its_own_corrections() -> None:
    logits, targets = multiclass()
    values, numbers = regression()
    yes = Binary()
    task = Multitask(members=(Member("c", CLASSES), Member("v", Regression(spread=10.0)), Member("b", yes)))
    rng = np.random.default_rng(5)
    coin = rng.normal(size=(COUNT, 1))
    heads = (rng.random((COUNT, 1)) < 1 / (1 + np.exp(-3 * coin))).astype(np.float32)
    whole = fit_trust(task, np.hstack([logits, values, coin]), np.hstack([targets, numbers, heads]), PEOPLE)
    alone = fit_trust(CLASSES, logits, targets, PEOPLE), fit_trust(yes, coin, heads, PEOPLE)
    assert whole.corrections.calibrations[0] == alone[0].corrections.calibrations[0]
    assert whole.corrections.conformal[2] == alone[1].corrections.conformal[0]
    assert whole.corrections.intervals[1] is not None
    assert Trust.from_table(json.loads(json.dumps(whole.to_table())), task) == whole
    assert verdict(whole.apply(np.zeros((1, 5))), 0).state == "refer"
