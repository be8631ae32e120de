"""The page of every kind of task: what is drawn, what is said of what cannot be had, and texts as they are."""

from __future__ import annotations

import html
from typing import Any

import numpy as np
import pytest

from mil.judging.cases import Asked, Cases
from mil.judging.compare import compare
from mil.judging.judge import judge, scores_of
from mil.judging.report.chapters import of_groups, of_models, questions
from mil.judging.report.page import render
from mil.judging.report.words import number, rows
from mil.tasks.binary import Binary
from mil.tasks.multiclass import Multiclass
from mil.tasks.multitask import Member, Multitask
from mil.tasks.regression import Regression

N = 40
QUICK = Asked(count=100)
PATIENTS = tuple(f"p{i}" for i in range(N))
SEVERAL = Multitask(
    members=(
        Member("type", Multiclass(column="c", labels=(("a$x_1$",), ("<i>b",), ("c",)))),
        Member("burden", Regression()),
        Member("nobody", Binary(column="n")),
    )
)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """Three tasks of one head, one of them without any label."""
    rng = np.random.default_rng(0)
    kind, value = np.arange(N) % 3, rng.normal(size=N)
    targets = np.stack([kind, value, np.full(N, np.nan)], axis=1).astype(np.float32)
    groups = {"sex": ["F" if i % 2 else "<u>M" for i in range(N)]}
    said, cases = {}, {}
    for name, noise in (("head", 0.5), ("baseline", 1.5)):
        logits = np.zeros((N, SEVERAL.outputs), np.float32)
        logits[np.arange(N), kind] = 1.0
        logits[:, 3] = value
        logits += rng.normal(0, noise, logits.shape).astype(np.float32)
        parts = SEVERAL.probabilities(logits), scores_of(SEVERAL, logits)
        said[name] = judge(SEVERAL, targets, *parts, PATIENTS, groups=groups, asked=QUICK)
        cases[name] = Cases(targets.astype(float), *parts, PATIENTS)
    others = ("drop", "cross_validation", "sets", "centres", "treatment", "against", "harmonised", "unlike")
    head = {"name": "mean"}
    folds = {"count": 3, "by": "patient", "repeats": 1}
    run = {"name": "toy", "purpose": "A test.", "task": {"kind": "multitask"}, "head": head, "folds": folds}
    return {
        "notice": "Research use only.",
        "what": "out of fold",
        "run": {**run, "members": 3, "winner": "head", "bags_fingerprint": "0" * 64},
        "versions": {"oncoscope": "0"},
        **said,
        "comparison": compare(SEVERAL, cases["head"], cases["baseline"], QUICK),
        **dict.fromkeys(others),
    }


def test_several_tasks_have_a_chapter_each(document: dict[str, Any]) -> None:
    page = render(document, "oncoscope evaluate RUN")
    for name in ("type", "burden", "nobody"):
        assert f"<h2>Figures: {name}</h2>" in page
    assert "Confusion matrix; " in page
    assert "True against predicted values" in page
    assert "Not judged: No case has a known label, so nothing can be judged." in html.unescape(page)


def test_names_of_classes_and_groups_are_texts_and_nothing_else(document: dict[str, Any]) -> None:
    page = render(document, "x")
    assert "<i>b" not in page
    assert "&lt;i&gt;b" in page
    assert "<u>M" not in page
    assert "&lt;u&gt;M" in page


def test_the_same_document_makes_the_same_page(document: dict[str, Any]) -> None:
    assert render(document, "x") == render(document, "x")


def test_every_figure_stands_in_a_table_with_its_interval(document: dict[str, Any]) -> None:
    for name, models in questions(document):
        if not models["head"]["figures"]:
            continue
        chapter = of_models(name, models, document["comparison"])
        own = models["head"]["figures"]
        assert len(chapter.tables[0].rows) == len(own)
        for row, figure in zip(chapter.tables[0].rows, own.values(), strict=True):
            assert row[1].startswith(number(figure["value"]))
            assert " to " in row[1]
        (group,) = of_groups(name, models["head"])
        assert {row[0] for row in group.tables[0].rows} == {"F", "<u>M"}


def test_figures_are_found_however_deep() -> None:
    figure = {"value": 1.0, "interval": None, "reason": "x"}
    found = dict(rows({"a_b": [{"time": 5.0, **figure}], "c": {"d": figure}, "e": 3}))
    assert found == {"a b, 5": {"time": 5.0, **figure}, "c, d": figure}
