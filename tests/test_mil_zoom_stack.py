"""Late fusion: weights of people who trained apart, fitted out of fold, with members that may be absent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mil import CheckpointError, LabelError
from mil.errors import CohortError, ExperimentError
from mil.tasks.binary import Binary
from mil.tasks.multiclass import Multiclass
from mil.tasks.task import Task
from mil.zoom.stack import Stack, gather
from mil.zoom.stacking import fit_stack, stack_out_of_fold


def said(seed: int, cases: int = 120, absent: float = 0.0) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Two members that each see half of the truth, and one that sees nothing; labels."""
    rng = np.random.default_rng(seed)
    first, second, noise = rng.normal(size=(3, cases))
    targets = (first + second + 0.5 * rng.normal(size=cases) > 0).astype(np.float32)[:, None]
    logits = np.stack([3 * first, 3 * second, 3 * noise], axis=1)[..., None]
    logits[rng.random((cases, 3)) < absent] = np.nan
    return logits, targets


def loss(logits: NDArray[np.floating], targets: NDArray[np.float32]) -> float:
    return float(np.logaddexp(0, np.where(targets == 1, -logits, logits)).mean())


def test_the_weights_are_the_best_on_the_simplex() -> None:
    logits, targets = said(0)
    stack = fit_stack(Binary(), ("a", "b", "c"), logits, targets)
    steps = np.arange(0, 1.001, 0.04)
    tried = {
        (one, two): loss(logits[:, :, 0] @ np.array([one, two, 1 - one - two]), targets[:, 0])
        for one in steps
        for two in steps
        if one + two <= 1
    }
    assert loss(stack(logits)[:, 0], targets[:, 0]) <= min(tried.values()) + 1e-5
    assert stack.weights[:2] == pytest.approx(min(tried, key=tried.__getitem__), abs=0.05)
    assert sum(stack.weights) == pytest.approx(1)
    assert min(stack.weights) >= 0
    assert stack.weights[2] < 0.1


@settings(max_examples=10)
@given(st.integers(0, 999), st.sampled_from([0.0, 0.4]))
def test_the_stack_loses_no_more_than_any_member_or_equal_votes(seed: int, absent: float) -> None:
    logits, targets = said(seed, absent=absent)
    seen = np.isfinite(logits[..., 0]).any(axis=1)
    logits, targets = logits[seen], targets[seen]
    best = loss(fit_stack(Binary(), "abc", logits, targets)(logits)[:, 0], targets[:, 0])
    for weights in ((1 / 3, 1 / 3, 1 / 3), (0.5, 0.5, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)):
        assert best <= loss(Stack(("a", "b", "c"), weights)(logits)[:, 0], targets[:, 0]) + 1e-5


def test_who_is_absent_is_left_out_of_the_count() -> None:
    stack = Stack(("a", "b", "c"), (0.5, 0.25, 0.25))
    logits = np.array([[1.0, 2, 4], [np.nan, 2, 4], [1, np.nan, np.nan]])[..., None]
    assert stack(logits)[:, 0].tolist() == [2.0, 3.0, 1.0]
    lone = Stack(("a", "b", "c"), (1.0, 0.0, 0.0))
    assert lone(logits)[:, 0].tolist() == [1.0, 3.0, 1.0]
    with pytest.raises(CohortError, match=r"Case 1 .* by no member"):
        stack(np.where(np.arange(3)[:, None, None] == 1, np.nan, logits))
    with pytest.raises(CohortError, match="has 3 members; logits of 2"):
        stack(logits[:, :2])


def test_labels_of_unseen_cases_do_not_move_the_weights() -> None:
    logits, targets = said(3)
    plain = fit_stack(Binary(), "abc", logits, targets)
    unknown = np.concatenate([targets, np.full((5, 1), np.nan, np.float32), np.ones((5, 1), np.float32)])
    more = np.concatenate([logits, 9 * np.ones((5, 3, 1)), np.full((5, 3, 1), np.nan)])
    assert fit_stack(Binary(), "abc", more, unknown).weights == pytest.approx(plain.weights, abs=1e-4)
    with pytest.raises(LabelError, match="No case with a label"):
        fit_stack(Binary(), "abc", more[-10:], unknown[-10:])


def test_several_classes_are_stacked_by_their_own_loss() -> None:
    rng = np.random.default_rng(5)
    targets = rng.integers(0, 3, (90, 1)).astype(np.float32)
    good = 2 * np.eye(3)[targets[:, 0].astype(int)] + rng.normal(size=(90, 3))
    task: Task = Multiclass(column="kind", labels=(("a",), ("b",), ("c",)))
    stack = fit_stack(task, ("good", "bad"), np.stack([good, rng.normal(size=(90, 3))], axis=1), targets)
    assert stack.weights[0] > 0.8


def test_the_honest_figure_uses_other_folds_only() -> None:
    logits, targets = said(6)
    folds = np.arange(120) % 4
    found = stack_out_of_fold(Binary(), logits, targets, folds)
    mine = folds == 2
    expected = fit_stack(Binary(), "abc", logits[~mine], targets[~mine])(logits[mine])
    np.testing.assert_array_equal(found[mine], expected)
    changed = np.where(mine[:, None], 1 - targets, targets)
    np.testing.assert_array_equal(stack_out_of_fold(Binary(), logits, changed, folds)[mine], expected)


def test_members_that_saw_other_cases_are_brought_together() -> None:
    cases, logits = gather([(("x", "y"), np.array([[1.0], [2.0]])), (("z", "y"), np.array([[3.0], [4.0]]))])
    assert cases == ("x", "y", "z")
    np.testing.assert_array_equal(logits[..., 0], [[1, np.nan], [2, 4], [np.nan, 3]])
    with pytest.raises(CohortError, match=r"Member 1 .* once"):
        gather([(("x",), np.ones((1, 1))), (("y", "y"), np.ones((2, 1)))])
    for wrong in ([], [(("x",), np.ones((1, 1))), (("x",), np.ones((1, 2)))]):
        with pytest.raises(CohortError, match="same number of logits"):
            gather(wrong)


def test_a_stack_is_saved_and_read_strictly(tmp_path: Path) -> None:
    stack, path = Stack(("a", "b"), (0.25, 0.75)), tmp_path / "stack.json"
    stack.save(path)
    assert Stack.load(path) == stack
    text = path.read_text()
    assert "Research use only" in text
    changes = (("0.75", "0.5"), ('"b"', '"a"'), ("stack-1", "stack-2"), ('"stack"', '"more"'))
    for damage in (text[:-9], "[1]", *(text.replace(*change) for change in changes)):
        path.write_text(damage)
        with pytest.raises(CheckpointError):
            Stack.load(path)
    with pytest.raises(CheckpointError, match="missing"):
        Stack.load(tmp_path / "none.json")


@pytest.mark.parametrize("weights", [(0.5, 0.4), (1.5, -0.5), (1.0,), ()])
def test_weights_that_are_none_are_refused(weights: tuple[float, ...]) -> None:
    with pytest.raises(ExperimentError, match="1 in sum"):
        Stack(("a", "b"), weights)
