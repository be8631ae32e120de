"""One fold, for every kind of task: a pure function of cases, folds and seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mil import Bag
from mil.experiment.development import Development
from mil.experiment.experiment import DataSpec, Experiment
from mil.experiment.fold import fit_fold, fit_fold_baseline
from mil.folds import FoldSpec, make_folds
from mil.tasks.binary import Binary
from mil.tasks.read import read_task
from mil.tasks.task import Task
from mil.training.memory import cohort_of
from mil.training.pooled import pool_cohort
from mil.training.spec import TrainSpec

BRIEF = TrainSpec(epochs=2, min_epochs=1, steps=1)


def cases(task: Task) -> Development:
    """48 slides of 40 patients; the label moves the second feature."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 48)
    bags = []
    for i in range(48):
        features = rng.normal(size=(int(rng.integers(2, 12)), 5)).astype(np.float32)
        features[:, 1] += 1.5 * label[i]
        bags.append(Bag(f"s{i}", features, np.zeros((len(features), 2), np.int64), patient=f"p{i % 40}"))
    table = {
        "label": ["" if i == 5 else str(label[i]) for i in range(48)],
        "grade": [str(1 + (label[i] + i) % 3) for i in range(48)],
        "days": [str(100 + 7 * i - 50 * label[i]) for i in range(48)],
        "dead": [str(int(i % 3 != 0)) for i in range(48)],
        "value": [f"{label[i] + i / 50:.2f}" for i in range(48)],
    }
    cohort, targets = cohort_of(bags), task.targets(table)
    whole = Development(cohort, targets, task.fit_to(targets), pool_cohort(cohort))
    return whole.part(np.flatnonzero(~np.isnan(targets).all(axis=1)))


def experiment(task: Task) -> Experiment:
    spec = DataSpec("none.npz")
    return Experiment("toy", "None.", spec, task, "mean", Path(), settings=(("hidden", 4),), training=BRIEF)


TASKS: dict[str, dict[str, object]] = {
    "multiclass": {"column": "grade", "labels": [["1"], ["2"], ["3"]]},
    "ordinal": {"column": "grade", "grades": [["1"], ["2"], ["3"]]},
    "multilabel": {"labels": ["label", "dead"]},
    "regression": {"column": "value"},
    "cox": {"time": "days", "event": "dead"},
    "hazard": {"time": "days", "event": "dead", "bins": 2},
    "multitask": {
        "members": [
            {"name": "a", "kind": "binary", "column": "label"},
            {"name": "b", "kind": "cox", "time": "days", "event": "dead"},
        ]
    },
}


@pytest.mark.parametrize("kind", sorted(TASKS))
def test_every_kind_of_task_is_learnt(kind: str) -> None:
    task = read_task({"kind": kind, **TASKS[kind]})
    data = cases(task)
    folds = make_folds(data.patients, data.centres, data.strata, FoldSpec(count=3))[0]
    found = fit_fold(experiment(task), data, folds, 0)
    _, rows, linear = fit_fold_baseline(data, folds, 0)
    assert found.logits.shape == linear.shape == (len(rows), task.outputs)
    assert np.isfinite(found.logits).all()
    assert np.isfinite(linear).all()
    assert len(found.history) == 2


def test_a_fold_is_a_pure_function_of_its_seed() -> None:
    data = cases(Binary())
    folds = make_folds(data.patients, data.centres, data.strata, FoldSpec(count=3))[0]
    found = []
    for own, seed in ((5, 0), (6, 0), (5, 1)):
        torch.manual_seed(own)  # what others did with their generator does not matter
        found.append(fit_fold(experiment(Binary()), data, folds, 1, seed=seed))
    first, again, other = found
    assert first.fit.digest == again.fit.digest != other.fit.digest
    assert np.array_equal(first.logits, again.logits)


def test_a_fold_learns_from_the_others_alone() -> None:
    """What is held out is scrambled: nothing that is learnt may change."""
    data = cases(Binary())
    folds = make_folds(data.patients, data.centres, data.strata, FoldSpec(count=3))[0]
    scrambled = data.targets.copy()
    scrambled[folds == 1] = 1 - scrambled[folds == 1]
    other = Development(data.cohort, scrambled, data.task, data.pooled)
    first, again = (fit_fold(experiment(Binary()), each, folds, 1) for each in (data, other))
    assert first.fit.digest == again.fit.digest
    linear, same = (fit_fold_baseline(each, folds, 1)[2] for each in (data, other))
    assert np.array_equal(linear, same)
