"""Raff and Holt's algorithmic tests are made as described, and the heads that claim the assumption hold on them."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import _algorithmic as algorithmic
from mil import HEADS, build_head


def of(bag: np.ndarray, centre: float) -> int:
    """Instances of a narrow concept in a bag."""
    return int((np.abs(bag - centre).max(axis=1) < 1).sum())


def counts(test: str, *, poisoned: bool, centre: float) -> tuple[set[int], set[int]]:
    """Which counts of a concept are there in negative and in positive bags."""
    bags, labels = algorithmic.make(test, 400, 3, poisoned=poisoned)
    numbers = [of(bag, centre) for bag in bags]
    return tuple({n for n, y in zip(numbers, labels, strict=True) if y == wanted} for wanted in (0, 1))  # type: ignore[return-value]


@pytest.mark.parametrize("test", ["single_concept", "multi_concept"])
def test_the_marker_changes_sides_when_poisoned(test: str) -> None:
    assert counts(test, poisoned=False, centre=-10) == ({1}, {0})
    assert counts(test, poisoned=True, centre=-10) == ({0}, {1})


@pytest.mark.parametrize("centre", [2, 3])
def test_a_negative_bag_holds_one_of_two_concepts_and_every_count_is_drawn(centre: float) -> None:
    for poisoned in (False, True):
        assert counts("multi_concept", poisoned=poisoned, centre=centre) == ({0, 1}, {1, 2, 3, 4})
    assert counts("false_frequency", poisoned=False, centre=centre) == ({0, 1, 2}, {1, 2})
    assert counts("false_frequency", poisoned=True, centre=centre) == ({0, *range(35, 46)}, {1, 2})


def test_a_single_concept_is_there_one_to_four_times() -> None:
    bags, labels = algorithmic.make("single_concept", 2000, 0, poisoned=False)
    sizes = {wanted: {len(bag) for bag, y in zip(bags, labels, strict=True) if y == wanted} for wanted in (0, 1)}
    assert sizes == {0: set(range(2, 12)), 1: set(range(2, 15))}


@pytest.mark.parametrize("name", [name for name in sorted(HEADS) if build_head(name, 2).respects_mil_assumption])
@pytest.mark.parametrize("test", ["single_concept", "multi_concept"])
def test_a_head_that_claims_the_assumption_is_not_fooled(name: str, test: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(algorithmic, "EPOCHS", 8)
    head = algorithmic.train(name, algorithmic.make(test, 400, 0, poisoned=False), 0)
    assert algorithmic.auroc(head, algorithmic.make(test, 200, 1, poisoned=True)) > 0.8


def test_a_head_that_weighs_tiles_against_each_other_is_fooled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(algorithmic, "EPOCHS", 8)
    head = algorithmic.train("abmil", algorithmic.make("single_concept", 400, 0, poisoned=False), 0)
    assert algorithmic.auroc(head, algorithmic.make("single_concept", 200, 1, poisoned=False)) > 0.95
    assert algorithmic.auroc(head, algorithmic.make("single_concept", 200, 1, poisoned=True)) < 0.1


def test_the_table_has_a_row_a_head() -> None:
    text = algorithmic.table({"single_concept": {"mean": [1.0, 0.004]}, "multi_concept": {"mean": [0.9, 0.5]}})
    assert text.splitlines()[0] == "| head | single concept | multi concept |"
    assert text.splitlines()[2] == "| mean | 1.00 → 0.00 | 0.90 → 0.50 |"
