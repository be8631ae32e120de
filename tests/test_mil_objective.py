"""Remedies for rare classes and wrong labels, against torch's own losses and the formulae of their papers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional

from mil.errors import ExperimentError, LabelError
from mil.tasks.binary import Binary
from mil.tasks.cox import Cox
from mil.tasks.multiclass import Multiclass
from mil.tasks.multilabel import Multilabel
from mil.tasks.multitask import Member, Multitask
from mil.tasks.ordinal import Ordinal
from mil.tasks.regression import Regression
from mil.tasks.task import Task
from mil.training.imbalance import balanced_draw
from mil.training.objective import ObjectiveSpec, build_objective

FOUR = (("a",), ("b",), ("c",), ("d",))
TRUTH = np.array([[0], [0], [0], [1], [1], [2], [3], [np.nan]], np.float32)
TARGETS = torch.from_numpy(TRUTH)
LOGITS = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
CLASSES = TARGETS[:7, 0].long()
TASK = Multiclass("label", FOUR)
P = LOGITS[:7].softmax(dim=1).gather(1, CLASSES[:, None])[:, 0]


def losses(spec: ObjectiveSpec, task: Task = TASK) -> torch.Tensor:
    return build_objective(task, spec, TRUTH).losses(LOGITS, TARGETS)


def test_without_remedies_the_losses_are_those_of_the_task() -> None:
    objective = build_objective(TASK, ObjectiveSpec(), TRUTH)
    torch.testing.assert_close(objective.losses(LOGITS, TARGETS), TASK.losses(LOGITS, TARGETS))
    assert objective.draw is None
    assert not list(objective.parameters())


def test_weights_are_those_of_scikit_learn() -> None:
    weight = compute_class_weight("balanced", classes=np.arange(4), y=TRUTH[:7, 0])
    wanted = functional.cross_entropy(LOGITS[:7], CLASSES, torch.tensor(weight, dtype=torch.float32), reduction="none")
    torch.testing.assert_close(losses(ObjectiveSpec("weights"))[:7], wanted)


def test_smoothing_with_weights_is_that_of_torch() -> None:
    weight = torch.tensor(compute_class_weight("balanced", classes=np.arange(4), y=TRUTH[:7, 0]), dtype=torch.float32)
    wanted = functional.cross_entropy(LOGITS[:7], CLASSES, weight, reduction="none", label_smoothing=0.1)
    torch.testing.assert_close(losses(ObjectiveSpec("weights", smoothing=0.1))[:7], wanted)


def test_focal_and_generalised_cross_entropy_are_the_formulae_of_their_papers() -> None:
    torch.testing.assert_close(losses(ObjectiveSpec("focal", gamma=1.5))[:7], -((1 - P) ** 1.5) * P.log())
    torch.testing.assert_close(losses(ObjectiveSpec(gce=0.7))[:7], (1 - P**0.7) / 0.7)
    torch.testing.assert_close(losses(ObjectiveSpec(gce=1.0))[:7], 1 - P)
    torch.testing.assert_close(losses(ObjectiveSpec(gce=1e-4))[:7], -P.log(), atol=1e-2, rtol=1e-2)


def test_logit_adjustment_adds_the_logarithm_of_the_frequencies() -> None:
    prior = torch.tensor([3, 2, 1, 1]) / 7
    wanted = functional.cross_entropy(LOGITS[:7] + 0.5 * prior.log(), CLASSES, reduction="none")
    torch.testing.assert_close(losses(ObjectiveSpec("logit_adjustment", tau=0.5))[:7], wanted)


@pytest.mark.parametrize(
    "spec",
    [
        ObjectiveSpec("weights", smoothing=0.1),
        ObjectiveSpec("focal", gamma=0.5),
        ObjectiveSpec("logit_adjustment"),
        ObjectiveSpec("balanced", gce=0.7),
    ],
    ids=lambda spec: spec.imbalance,
)
@pytest.mark.parametrize(
    "task",
    [TASK, Ordinal("label", FOUR), Multitask((Member("a", TASK), Member("b", Regression())), "uncertainty")],
    ids=lambda task: task.kind,
)
def test_a_case_without_a_label_says_nothing_and_no_gradient_is_lost(spec: ObjectiveSpec, task: Task) -> None:
    train = np.concatenate([TRUTH, TRUTH], axis=1)[:, : task.width]
    objective = build_objective(task, spec, train)
    logits = torch.full((8, task.outputs), 200.0).requires_grad_()
    each = objective.losses(logits, torch.from_numpy(train))
    each.sum().backward()
    assert each[7].item() == 0
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert not logits.grad[7].any()
    assert logits.grad[:7].any()


def test_each_label_of_several_is_weighed_by_its_own_frequency() -> None:
    train = np.array([[1, 1], [1, 0], [1, 0], [0, 0], [np.nan, 0]], np.float32)
    objective = build_objective(Multilabel(("a", "b")), ObjectiveSpec("weights"), train)
    even = np.log(2)
    each = objective.losses(torch.zeros(5, 2), torch.from_numpy(train))
    wanted = [(4 / 6 + 5 / 2) / 2, (4 / 6 + 5 / 8) / 2, (4 / 6 + 5 / 8) / 2, (4 / 2 + 5 / 8) / 2, 5 / 8]
    np.testing.assert_allclose(each, np.array(wanted) * even, rtol=1e-5)


@settings(max_examples=30)
@given(st.lists(st.integers(-1, 3), min_size=1, max_size=40).filter(lambda found: max(found) >= 0))
def test_balanced_drawing_gives_each_stratum_the_same_share(found: list[int]) -> None:
    strata = np.array(found)
    draw = balanced_draw(strata)
    shares = [draw[strata == kind].sum() for kind in np.unique(strata[strata >= 0])]
    np.testing.assert_allclose(shares, 1 / len(shares))
    assert not draw[strata < 0].any()


def test_balanced_drawing_is_that_of_the_objective_and_needs_labels() -> None:
    objective = build_objective(TASK, ObjectiveSpec("balanced"), TRUTH)
    assert objective.draw is not None
    np.testing.assert_allclose(objective.draw, [1 / 12] * 3 + [1 / 8] * 2 + [1 / 4, 1 / 4, 0])
    torch.testing.assert_close(objective.losses(LOGITS, TARGETS), TASK.losses(LOGITS, TARGETS))
    with pytest.raises(LabelError, match="no labelled case"):
        build_objective(TASK, ObjectiveSpec("balanced"), TRUTH[7:])


def test_learnt_weights_settle_at_the_losses_of_their_tasks() -> None:
    task = Multitask((Member("easy", Binary("a")), Member("hard", Binary("b"))), "uncertainty")
    targets = torch.tensor([[1.0, 1.0], [1.0, float("nan")]])
    logits = torch.tensor([[3.0, -2.0], [3.0, 0.0]])
    objective = build_objective(task, ObjectiveSpec(), targets.numpy())
    (logs,) = objective.parameters()
    losses_of_each = functional.softplus(torch.tensor([-3.0, 2.0]))
    logs.data.copy_((2 * losses_of_each).log())  # exp(-s) L + s / 2 is least where exp(s) is 2 L
    objective.losses(logits, targets).sum().backward()
    assert logs.grad is not None
    torch.testing.assert_close(logs.grad, torch.zeros(2), atol=1e-5, rtol=0)
    judged = objective.losses(logits, targets, judging=True)  # in the same terms at every epoch
    torch.testing.assert_close(judged, task.losses(logits, targets))


def test_remedies_reach_the_members_that_decide_and_leave_the_others() -> None:
    task = Multitask((Member("class", TASK, 2.0), Member("number", Regression())))
    train = np.concatenate([TRUTH, TRUTH * 3], axis=1)
    logits = torch.cat([LOGITS, LOGITS[:, :1]], dim=1)
    found = build_objective(task, ObjectiveSpec("weights"), train).losses(logits, torch.from_numpy(train))
    number = Regression().losses(LOGITS[:, :1], TARGETS * 3)
    torch.testing.assert_close(found, 2 * losses(ObjectiveSpec("weights")) + number)


@pytest.mark.parametrize("task", [Cox(), Regression()], ids=["cox", "regression"])
@pytest.mark.parametrize(
    "spec",
    [ObjectiveSpec("focal"), ObjectiveSpec("balanced"), ObjectiveSpec(smoothing=0.1), ObjectiveSpec(gce=0.7)],
    ids=["focal", "balanced", "smoothing", "gce"],
)
def test_remedies_for_classes_are_refused_where_there_are_none(task: Task, spec: ObjectiveSpec) -> None:
    with pytest.raises(ExperimentError, match="has no classes"):
        build_objective(task, spec, np.ones((4, task.width), np.float32))


@pytest.mark.parametrize("values", [{"gamma": 0.0}, {"tau": -1.0}, {"smoothing": 1.0}, {"gce": 1.1}], ids=str)
def test_values_that_mean_nothing_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ExperimentError, match="gamma and tau"):
        ObjectiveSpec(**values)  # type: ignore[arg-type] # all are numbers


def test_two_losses_at_once_are_refused() -> None:
    with pytest.raises(ExperimentError, match="two losses"):
        ObjectiveSpec("focal", gce=0.5)
