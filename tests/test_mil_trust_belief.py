"""What may be believed of a run's scores is said in sentences, and so is why something may not."""

from __future__ import annotations

import json

import numpy as np

from mil.tasks.binary import Binary
from mil.tasks.regression import Regression
from mil.trust.belief import believe

COUNT = 60
PEOPLE = [str(row) for row in range(COUNT)]
TARGETS = (np.arange(COUNT) % 2)[:, None].astype(np.float32)
LOGITS = np.random.default_rng(0).normal(size=(COUNT, 1)) + 2 * TARGETS - 1
TASK = Binary()


def test_what_was_fitted_and_how_it_held_is_said() -> None:
    found = believe(TASK, LOGITS, TARGETS, PEOPLE)
    assert found.trust is not None
    assert found.coverage is not None
    share, right = found.coverage[0]["coverage"], found.coverage[0]["right"]
    assert found.said[0].startswith("Calibrated by temperature on 60 patients out of fold; log loss")
    assert found.said[1].startswith(f"Sets of 90% held the truth of {share:.1%} of patients that neither they nor the")
    assert f"have one answer, {right:.1%} of them rightly, the others say refer." in found.said[1]


def test_why_there_is_none_is_said_and_is_no_error() -> None:
    found = believe(TASK, LOGITS, np.ones((COUNT, 1), np.float32), PEOPLE)
    assert (found.trust, found.coverage) == (None, None)
    assert found.said[0].startswith("Not calibrated. Calibration needs cases of two classes")


def test_what_could_not_be_held_out_is_said() -> None:
    targets = np.zeros((COUNT, 1), np.float32)
    targets[3] = 1
    found = believe(TASK, LOGITS, targets, PEOPLE)
    assert found.trust is not None
    assert found.coverage is None
    assert found.said[-1].startswith("Coverage needs two patients of each class")


def test_intervals_without_an_end_can_be_written() -> None:
    found = believe(Regression(), LOGITS[:6], np.arange(6, dtype=np.float32)[:, None], PEOPLE[:6])
    assert found.trust is not None
    assert found.coverage is not None
    text = json.dumps([found.trust.to_table(), found.coverage], allow_nan=False)
    assert '"width": null' in text
    assert found.said[-1].startswith("Intervals of 90% held the truth of 100.0%")
