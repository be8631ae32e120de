"""Wrong labels: what co-teaching leaves out, and what a second look should be given to."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mil.errors import ExperimentError
from mil.tasks.binary import Binary
from mil.tasks.cox import Cox
from mil.tasks.multiclass import Multiclass
from mil.tasks.multitask import Member, Multitask
from mil.training.coteaching import CoteachingSpec, check_coteaching, exchange, kept_share, small_losses
from mil.training.suspicion import confident_class, noise_share, suspicious_labels


def test_the_share_that_is_left_out_grows_to_the_noise() -> None:
    spec = CoteachingSpec(noise=0.2, ramp=4)
    assert [kept_share(spec, epoch) for epoch in range(1, 7)] == pytest.approx([0.95, 0.9, 0.85, 0.8, 0.8, 0.8])
    assert kept_share(CoteachingSpec(), 9) == 1


@settings(max_examples=40)
@given(st.lists(st.tuples(st.floats(-5, 5, width=32), st.booleans()), min_size=1, max_size=20), st.floats(0.5, 1.0))
def test_no_case_that_is_left_out_has_a_smaller_loss(rows: list[tuple[float, bool]], share: float) -> None:
    losses, known = torch.tensor([row[0] for row in rows]), torch.tensor([row[1] for row in rows])
    chosen = small_losses(losses, known, share)
    assert not (chosen & ~known).any()
    assert share * known.sum() - 1e-6 <= chosen.sum() < share * known.sum() + 1
    left = known & ~chosen
    if left.any():
        assert losses[chosen].max() <= losses[left].min()


def test_each_head_learns_what_the_other_finds_easy() -> None:
    first, second = torch.tensor([1.0, 2.0, 3.0, 0.0]), torch.tensor([3.0, 1.0, 2.0, 0.0])
    known = torch.tensor([True, True, True, False])
    for_first, for_second = exchange(first, second, known, 2 / 3)
    assert for_first.tolist() == [False, True, True, False]
    assert for_second.tolist() == [True, True, False, False]


@pytest.mark.parametrize(("noise", "ramp"), [(0.5, 1), (-0.1, 1), (0.1, 0)])
def test_noise_that_leaves_too_little_is_refused(noise: float, ramp: int) -> None:
    with pytest.raises(ExperimentError, match="noise of co-teaching"):
        CoteachingSpec(noise, ramp)


def test_cases_that_are_compared_are_not_left_out() -> None:
    check_coteaching(Cox(), CoteachingSpec())
    check_coteaching(Binary(), CoteachingSpec(0.1))
    with pytest.raises(ExperimentError, match="use hazard"):
        check_coteaching(Multitask((Member("a", Binary()), Member("b", Cox()))), CoteachingSpec(0.1))


def test_the_confident_class_is_the_likeliest_of_those_that_are_reached() -> None:
    truth = np.array([0, 0, 1, 1, -1])
    said = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.6, 0.4], [0.5, 0.5]])
    # Class 0 is reached from (.9 + .2) / 2 = .55, class 1 from (.7 + .4) / 2 = .55.
    assert confident_class(truth, said).tolist() == [0, 1, 1, 0, -1]
    assert noise_share(truth, confident_class(truth, said), 2) == pytest.approx(0.5)
    hesitant = np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.52, 0.48], [0.5, 0.5]])
    assert confident_class(truth, hesitant).tolist() == [0, 0, 1, -1, -1]
    assert noise_share(truth, confident_class(truth, hesitant), 2) == 0
    assert noise_share(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), 2) == pytest.approx(0.25)
    assert noise_share(np.array([0, 0, 0, 1]), np.array([0, 1, -1, 1]), 2) == pytest.approx(3 / 8)


def test_a_class_without_cases_is_nobodys() -> None:
    truth, said = np.array([0, 1, 1]), np.array([[0.1, 0.1, 0.8], [0.1, 0.8, 0.1], [0.1, 0.8, 0.1]])
    assert confident_class(truth, said).tolist() == [0, 1, 1]


def test_flipped_labels_head_the_list_and_their_share_is_estimated() -> None:
    rng = np.random.default_rng(0)
    right = rng.integers(0, 3, 300)
    wrong = rng.permutation(300)[:30]
    given = right.copy()
    given[wrong] = (right[wrong] + rng.integers(1, 3, 30)) % 3
    logits = (3.0 * np.eye(3)[right] + rng.normal(0, 0.7, (300, 3))).astype(np.float32)
    task = Multiclass("kind", (("a",), ("b",), ("c",)))
    found = suspicious_labels(task, given[:, None].astype(np.float32), logits)
    assert len({one.row for one in found.suspects[:30]} & set(wrong.tolist())) >= 27
    assert found.noise[0] == pytest.approx(0.1, abs=0.03)
    confidences = [one.confidence for one in found.suspects]
    assert confidences == sorted(confidences)
    first = found.suspects[0]
    assert (first.given, first.likely) == (given[first.row], right[first.row])
    assert f"The other cases give its label, {'abc'[first.given]}, 0.0" in first.reason
    assert f"and {'abc'[first.likely]} 0.9" in first.reason


def test_only_members_that_decide_between_classes_are_suspected() -> None:
    task = Multitask((Member("survival", Cox()), Member("msi", Binary("msi"))))
    targets = np.array([[1, 1, 1], [2, 0, 0], [3, 1, 0], [4, 0, 1], [5, 1, np.nan]], np.float32)
    logits = np.array([[9, 3], [9, -3], [9, 4], [9, 3], [9, 9]], np.float32)
    found = suspicious_labels(task, targets, logits)
    assert [(one.row, one.about, one.given, one.likely) for one in found.suspects] == [(2, "column msi", 0, 1)]
    with pytest.raises(ExperimentError, match="no classes"):
        suspicious_labels(Cox(), targets[:, :2], logits[:, :1])
