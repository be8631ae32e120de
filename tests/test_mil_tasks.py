"""What every task promises, and what those of classes and numbers mean, against torch and scikit-learn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss, mean_pinball_loss
from torch import Tensor
from torch.nn import functional

from mil.errors import ExperimentError, LabelError
from mil.tasks.binary import Binary
from mil.tasks.cox import Cox
from mil.tasks.hazard import Hazard
from mil.tasks.multiclass import Multiclass
from mil.tasks.multilabel import Multilabel
from mil.tasks.multitask import Member, Multitask
from mil.tasks.ordinal import Ordinal
from mil.tasks.regression import Regression
from mil.tasks.task import TASKS, Task, task_class

TABLE = {
    "yes": ("1", "0", "1", "0", "1", "0", ""),
    "other": ("0", "", "1", "1", "0", "0", ""),
    "class": ("a", "b", "c", "c", "b", "a", ""),
    "value": ("3", "1.5", "0", "8", "2", "1e2", ""),
    "time": ("5", "3", "2", "8", "4", "9", ""),
    "event": ("1", "1", "0", "1", "1", "0", "1"),
}
LABELS = (("a",), ("b",), ("c",))
SINGLE: dict[str, Task] = {
    "binary": Binary("yes"),
    "multiclass": Multiclass("class", LABELS),
    "multilabel": Multilabel(("yes", "other")),
    "ordinal": Ordinal("class", LABELS),
    "regression": Regression("value", log1p=True),
    "quantiles": Regression("value", quantiles=True),
    "cox": Cox(),
    "hazard": Hazard(bins=3),
}
ALL: dict[str, Task] = {**SINGLE, "multitask": Multitask(tuple(Member(n, t) for n, t in SINGLE.items()))}
every_task = pytest.mark.parametrize("task", ALL.values(), ids=ALL.keys())
rows = st.lists(st.floats(-60, 60, width=32), min_size=4, max_size=4)


def logits_of(task: Task, cases: int = 7) -> Tensor:
    return torch.randn(cases, task.outputs, generator=torch.Generator().manual_seed(1))


def test_the_table_of_tasks_leads_to_them() -> None:
    assert {task_class(name) for name in TASKS} == {type(task) for task in ALL.values()}
    with pytest.raises(ExperimentError, match="no task of kind fortune"):
        task_class("fortune")


@every_task
def test_shapes_are_those_that_the_task_declares(task: Task) -> None:
    targets = task.targets(TABLE)
    settled = task.fit_to(targets)
    logits = logits_of(task)
    assert targets.shape == (7, task.width)
    assert targets.dtype == np.float32
    assert settled.losses(logits, torch.from_numpy(targets)).shape == (7,)
    assert settled.probabilities(logits.numpy()).shape[0] == 7
    assert settled.score(logits.numpy()).shape == (7,)
    assert not task.classes or settled.probabilities(logits.numpy()).shape[1] >= len(task.classes)
    assert set(task.columns) <= set(TABLE)
    one_hot = task.one_hot(torch.from_numpy(targets))
    assert one_hot is None or (one_hot.shape == logits.shape and not one_hot[6].any())


@every_task
def test_a_case_without_a_label_says_exactly_nothing(task: Task) -> None:
    targets = torch.from_numpy(task.targets(TABLE))
    logits = logits_of(task).requires_grad_()
    losses = task.fit_to(targets.numpy()).losses(logits, targets)
    losses.sum().backward()
    assert task.known(targets).tolist() == [True] * 6 + [False]
    assert task.strata(targets.numpy())[6] == -1
    assert (task.strata(targets.numpy())[:6] >= 0).all()
    assert losses[6].item() == 0
    assert logits.grad is not None
    assert not logits.grad[6].any()
    assert logits.grad[:6].isfinite().all()


@every_task
def test_losses_stay_finite_where_logits_are_extreme(task: Task) -> None:
    targets = torch.from_numpy(task.targets(TABLE))
    settled = task.fit_to(targets.numpy())
    for size in (-2000.0, 2000.0):
        logits = torch.full((7, task.outputs), size, requires_grad=True)
        losses = settled.losses(logits, targets)
        losses.sum().backward()
        assert losses.isfinite().all()
        assert logits.grad is not None
        assert logits.grad.isfinite().all()
        assert np.isfinite(settled.probabilities(logits.detach().numpy())).all()


def test_targets_say_which_class_and_keep_the_units_of_numbers() -> None:
    wanted: dict[str, list[float]] = {
        "binary": [1, 0, 1, 0, 1, 0],
        "multiclass": [0, 1, 2, 2, 1, 0],
        "ordinal": [0, 1, 2, 2, 1, 0],
        "regression": [3, 1.5, 0, 8, 2, 100],
    }
    for name, column in wanted.items():
        assert SINGLE[name].targets(TABLE)[:6, 0].tolist() == column
    assert SINGLE["cox"].targets(TABLE)[:3].tolist() == [[5, 1], [3, 1], [2, 0]]


@every_task
def test_a_column_that_is_not_there_is_named(task: Task) -> None:
    for column in task.columns:
        with pytest.raises(LabelError, match=f"no column {column}"):
            task.targets({name: texts for name, texts in TABLE.items() if name != column})


@every_task
def test_a_text_without_a_meaning_is_named_by_row_and_column_and_not_repeated(task: Task) -> None:
    column = task.columns[0]
    with pytest.raises(LabelError, match=rf"Row 2: .*column {column}") as caught:
        task.targets({**TABLE, column: ("", "Mrs Smith", "", "", "", "", "")})
    assert "Smith" not in str(caught.value)


@every_task
def test_labels_that_are_all_alike_teach_nothing(task: Task) -> None:
    targets = task.targets(TABLE)
    task.check(targets)
    with pytest.raises(LabelError):
        task.check(targets[[0, 0, 6]] if task.kind != "survival" else targets[[2, 5, 6]])
    with pytest.raises(LabelError):
        task.check(targets[6:])


def test_cross_entropies_are_those_of_torch_and_scikit_learn() -> None:
    binary, many = SINGLE["binary"], SINGLE["multiclass"]
    truth = torch.from_numpy(binary.targets(TABLE)[:6])
    logits = logits_of(binary, 6)
    torch.testing.assert_close(
        binary.losses(logits, truth),
        functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")[:, 0],
    )
    assert binary.losses(logits, truth).mean() == pytest.approx(
        log_loss(truth[:, 0], binary.probabilities(logits.numpy())[:, 0])
    )
    classes, wide = torch.from_numpy(many.targets(TABLE)[:6]), logits_of(many, 6)
    torch.testing.assert_close(
        many.losses(wide, classes), functional.cross_entropy(wide, classes[:, 0].long(), reduction="none")
    )
    assert many.losses(wide, classes).mean() == pytest.approx(
        log_loss(classes[:, 0], many.probabilities(wide.numpy()), labels=[0, 1, 2])
    )


def test_a_label_that_is_missing_leaves_the_others_of_its_case() -> None:
    task = SINGLE["multilabel"]
    targets, logits = torch.from_numpy(task.targets(TABLE)), logits_of(task)
    each = functional.binary_cross_entropy_with_logits(logits, targets.nan_to_num(), reduction="none")
    losses = task.losses(logits, targets)
    assert losses[0] == pytest.approx(float(each[0].mean()))
    assert losses[1] == pytest.approx(float(each[1, 0]))  # its second label is missing


def test_strata_of_several_labels_are_the_rarest_positive_one() -> None:
    targets = np.array([[1, 1], [1, 0], [0, 1], [1, 0], [0, 0], [np.nan, 1], [np.nan, np.nan], [1, 0]], np.float32)
    assert Multilabel(("a", "b")).strata(targets).tolist() == [2, 1, 2, 1, 0, 2, -1, 1]


@given(rows)
def test_grades_never_come_out_of_order(row: list[float]) -> None:
    task = Ordinal("class", (*LABELS, ("d",), ("e",)))
    logits = np.array([row], np.float32)
    assert (np.diff(task.above(logits)) <= 0).all()
    probabilities = task.probabilities(logits)
    assert (probabilities >= 0).all()
    assert probabilities.sum() == pytest.approx(1)
    assert task.score(logits)[0] == pytest.approx(float(probabilities[0] @ np.arange(5)), abs=1e-9)


def test_the_loss_of_grades_is_the_mean_over_the_thresholds() -> None:
    task = Ordinal("class", LABELS)
    logits, targets = logits_of(task, 6), torch.from_numpy(task.targets(TABLE)[:6])
    above = torch.from_numpy(task.above(logits.numpy())).float()
    truth = (targets > torch.tensor([0, 1])).float()
    torch.testing.assert_close(
        task.losses(logits, targets), functional.binary_cross_entropy(above, truth, reduction="none").mean(dim=1)
    )


@given(rows)
def test_quantiles_never_cross(row: list[float]) -> None:
    task = Regression("value", quantiles=True, log1p=True, centre=2.0, spread=3.0)
    assert (np.diff(task.probabilities(np.array([row[:3]], np.float32))) >= 0).all()


@pytest.mark.parametrize(
    ("loss", "measure"), [("huber", functional.huber_loss), ("mse", functional.mse_loss)], ids=["huber", "mse"]
)
def test_numbers_are_learnt_in_standard_units_and_told_in_their_own(loss: str, measure: Callable[..., Tensor]) -> None:
    task = Regression("value", "mse" if loss == "mse" else "huber", log1p=True)
    targets = task.targets(TABLE)
    settled = task.fit_to(targets)
    scaled = np.log1p(targets[:6].astype(np.float64))
    units = torch.from_numpy((scaled - scaled.mean()) / scaled.std()).float()
    logits = logits_of(task, 6)
    torch.testing.assert_close(
        settled.losses(logits, torch.from_numpy(targets[:6])), measure(logits, units, reduction="none")[:, 0]
    )
    np.testing.assert_allclose(settled.probabilities(units.numpy()), targets[:6], rtol=1e-5, atol=1e-5)


def test_the_pinball_loss_is_that_of_scikit_learn() -> None:
    task = Regression("value", quantiles=True).fit_to(Regression("value").targets(TABLE))
    targets, logits = task.targets(TABLE)[:6], logits_of(task, 6)
    levels = task.probabilities(logits.numpy())
    wanted = np.mean([mean_pinball_loss(targets[:, 0], levels[:, k], alpha=a) for k, a in enumerate((0.05, 0.5, 0.95))])
    assert task.losses(logits, torch.from_numpy(targets)).mean() * task.spread == pytest.approx(wanted, rel=1e-5)


def test_several_tasks_are_the_sum_of_the_single_ones() -> None:
    task = Multitask(tuple(Member(name, single, 2.0) for name, single in SINGLE.items()))
    targets = task.targets(TABLE)
    settled = task.fit_to(targets)
    logits = logits_of(task)
    parts = [settled.part(name) for name in SINGLE]
    own = [2 * p.task.losses(logits[:, p.logits], torch.from_numpy(targets[:, p.targets])) for p in parts]
    torch.testing.assert_close(settled.losses(logits, torch.from_numpy(targets)), sum(own, torch.zeros(7)))
    probabilities = [p.task.probabilities(logits[:, p.logits].numpy()) for p in parts]
    np.testing.assert_array_equal(settled.probabilities(logits.numpy()), np.concatenate(probabilities, axis=1))
    scores = settled.scores(logits.numpy())
    np.testing.assert_array_equal(settled.score(logits.numpy()), scores[:, 0])
    np.testing.assert_array_equal(scores[:, 3], parts[3].task.score(logits[:, parts[3].logits].numpy()))
    with pytest.raises(ExperimentError, match="no task fortune"):
        settled.part("fortune")


def test_several_tasks_use_what_is_known_of_each_case() -> None:
    task = Multitask((Member("first", Binary("yes")), Member("second", Binary("other"))))
    targets = np.array([[1, np.nan], [np.nan, 1], [np.nan, 0], [np.nan, np.nan], [0, 0]], np.float32)
    logits = torch.ones(5, 2)
    assert task.strata(targets).tolist() == [1, 3, 2, -1, 0]
    assert task.known(torch.from_numpy(targets)).tolist() == [True, True, True, False, True]
    np.testing.assert_allclose(
        task.losses(logits, torch.from_numpy(targets)), [0.313262, 0.313262, 1.313262, 0.0, 2.626523], rtol=1e-5
    )
    one_hot = task.one_hot(torch.from_numpy(targets))
    assert one_hot is not None
    assert one_hot.tolist() == [[True, False], [False, True], [False, False], [False, False], [False, False]]


@settings(max_examples=30)
@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=4, max_size=30, unique=True))
def test_strata_of_numbers_are_quarters(values: list[float]) -> None:
    counts = np.bincount(Regression().strata(np.array(values, np.float32)[:, None]), minlength=4)
    assert counts.max() - counts.min() <= 1


CONTRADICTIONS: tuple[Callable[[], Task], ...] = (
    lambda: Binary(positive=("1",), negative=("1",)),
    lambda: Binary(positive=()),
    lambda: Binary(negative=("",)),
    lambda: Multiclass(labels=(("a",),)),
    lambda: Multilabel(()),
    lambda: Multilabel(("a", "a")),
    lambda: Regression(spread=0),
    lambda: Hazard(bins=1),
    lambda: Hazard(alpha=2),
    lambda: Hazard(bins=2, edges=(2.0, 1.0)),
    lambda: Hazard(bins=3, edges=(1.0, 2.0)),
    lambda: Multitask((Member("a", Binary()),)),
    lambda: Multitask((Member("a", Binary()), Member("a", Cox()))),
    lambda: Multitask((Member("a", Binary()), Member("b", Cox(), 0.0))),
    lambda: Multitask((Member("a", Binary()), Member("b", ALL["multitask"]))),
)


@pytest.mark.parametrize("make", CONTRADICTIONS, ids=range(len(CONTRADICTIONS)))
def test_settings_that_contradict_each_other_are_refused(make: Callable[[], Task]) -> None:
    with pytest.raises(ExperimentError):
        make()
