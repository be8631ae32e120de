"""The table of a task: read strictly, written back the same."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mil.errors import ExperimentError
from mil.tasks.binary import Binary
from mil.tasks.cox import Cox
from mil.tasks.hazard import Hazard
from mil.tasks.multiclass import Multiclass
from mil.tasks.multilabel import Multilabel
from mil.tasks.multitask import Member, Multitask
from mil.tasks.ordinal import Ordinal
from mil.tasks.read import read_task, task_table
from mil.tasks.regression import Regression
from mil.tasks.task import Task

names = st.text("abcdefgh ä", min_size=1, max_size=6)
groups = st.lists(names, min_size=2, max_size=6, unique=True).map(lambda found: tuple((text,) for text in found))
pairs = st.lists(names, min_size=4, max_size=6, unique=True)
numbers = st.floats(-1e6, 1e6)
rising = st.lists(st.floats(0.01, 1e4), min_size=3, max_size=3, unique=True).map(lambda found: tuple(sorted(found)))
edges = st.one_of(st.just(()), rising)
# Recipes, not tasks: types are checked with random samples, which hypothesis does not allow while it makes values.
Recipe = Callable[[], Task]
single: st.SearchStrategy[Recipe] = st.one_of(
    st.builds(lambda c, t: partial(Binary, c, tuple(t[:2]), tuple(t[2:])), names, pairs),
    st.builds(partial, st.just(Multiclass), names, groups),
    st.builds(partial, st.just(Multilabel), st.lists(names, min_size=1, max_size=4, unique=True).map(tuple)),
    st.builds(partial, st.just(Ordinal), names, groups),
    st.builds(
        lambda *given: partial(Regression, *given),
        *(names, st.sampled_from(["huber", "mse"]), st.booleans(), st.booleans(), numbers, st.floats(0.1, 10)),
    ),
    st.builds(partial, st.just(Cox), names, names),
    st.builds(lambda a, e: partial(Hazard, bins=3, alpha=a, edges=e), st.floats(0, 1), edges),
)


def together(recipes: list[Recipe], weight: float, weighting: str) -> Task:
    members = tuple(Member(f"t{i}", recipe(), weight) for i, recipe in enumerate(recipes))
    return Multitask(members, "fixed" if weighting == "fixed" else "uncertainty")


several: st.SearchStrategy[Recipe] = st.builds(
    partial,
    st.just(together),
    st.lists(single, min_size=2, max_size=3),
    st.floats(0.1, 10),
    st.sampled_from(["fixed", "uncertainty"]),
)


@settings(max_examples=60)
@given(st.one_of(single, several))
def test_a_task_comes_back_from_its_table_through_json(recipe: Recipe) -> None:
    task = recipe()
    assert read_task(json.loads(json.dumps(task_table(task), sort_keys=True))) == task


def test_a_table_says_less_where_a_list_has_one_entry() -> None:
    task = read_task(tomllib.loads('kind = "binary"\ncolumn = "msi"\npositive = "MSI-H"\nnegative = ["MSS", "MSI-L"]'))
    assert task == Binary("msi", ("MSI-H",), ("MSS", "MSI-L"))
    graded = read_task(tomllib.loads('kind = "ordinal"\ncolumn = "stage"\ngrades = [["I", "IA"], "II"]'))
    assert graded == Ordinal("stage", (("I", "IA"), ("II",)))


def test_several_tasks_stand_in_a_list_of_tables() -> None:
    text = """
    kind = "multitask"
    weighting = "uncertainty"
    [[members]]
    name = "msi"
    kind = "binary"
    column = "msi"
    [[members]]
    name = "survival"
    weight = 0.5
    kind = "cox"
    time = "os_days"
    event = "os_event"
    """
    members = (Member("msi", Binary("msi")), Member("survival", Cox("os_days", "os_event"), 0.5))
    assert read_task(tomllib.loads(text)) == Multitask(members, "uncertainty")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "needs a kind"),
        ({"kind": 3}, "needs a kind"),
        ({"kind": "fortune"}, "no task of kind fortune"),
        ({"kind": "binary", "colum": "x"}, "no key colum; perhaps column"),
        ({"kind": "binary", "column": 3}, "column of The task must be str, not int"),
        ({"kind": "hazard", "bins": True}, "bins of The task must be int, not bool"),
        ({"kind": "hazard", "alpha": float("nan")}, "must be finite"),
        ({"kind": "regression", "loss": "l1"}, "one of huber, mse"),
        ({"kind": "multiclass", "labels": ["a", "a"]}, "stands twice"),
        ({"kind": "multitask", "members": {"name": "a"}}, "list of tables"),
        ({"kind": "multitask", "memers": []}, "no key memers"),
        ({"kind": "multitask", "members": [{"kind": "binary"}, {"kind": "cox"}]}, "lacks the key name"),
    ],
)
def test_a_table_that_is_not_right_is_refused(table: dict[str, object], message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        read_task(table)
