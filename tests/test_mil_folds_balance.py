"""The search for balanced folds, against trying all, against an independent split, and against its own neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mil.folds import FoldSpec, make_folds
from mil.folds.balance import Balance
from mil.folds.exact import exact
from mil.folds.groups import group
from mil.folds.search import exchange


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(0.5, 0.5), (1 / 3, 1 / 3, 1 / 3), (0.7, 0.3)]))
def test_the_exact_search_finds_what_trying_all_finds(seed: int, shares: tuple[float, ...]) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 9, 6)
    centres = [f"c{centre}" for centre, size in enumerate(sizes) for _ in range(size)]
    strata = rng.integers(0, 2, len(centres))
    balance = Balance(group([str(row) for row in range(len(centres))], centres, strata), np.array(shares))
    every = np.stack(np.meshgrid(*[np.arange(len(shares))] * 6), axis=-1).reshape(-1, 6)
    best = min(balance.total(folds) for folds in every)
    found = exact(balance)
    assert best >= balance.bounds().sum() - 1e-9
    if best < 2 * len(centres):  # else some fold must lack a class
        assert found is not None
        assert balance.total(found) == pytest.approx(best)
    else:
        assert found is None


def test_the_exact_search_may_put_the_largest_together() -> None:
    counts = {"a": (10, 0), "b": (0, 10), "c": (5, 5), "d": (5, 5)}
    centres = [name for name, sizes in counts.items() for _ in range(sum(sizes))]
    strata = np.concatenate([np.repeat([0, 1], sizes) for sizes in counts.values()])
    names = [f"{centre}{row}" for row, centre in enumerate(centres)]
    balance = Balance(group(names, centres, strata), np.array([0.5, 0.5]))
    found = exact(balance)
    assert found is not None
    assert balance.total(found) == 0


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(0.5, 0.5), (0.4, 0.3, 0.3)]))
def test_where_exchanges_end_no_move_and_no_exchange_helps(seed: int, shares: tuple[float, ...]) -> None:
    rng = np.random.default_rng(seed)
    centres = [f"c{centre}" for centre, size in enumerate(rng.integers(1, 20, 9)) for _ in range(size)]
    names = [str(row) for row in range(len(centres))]
    balance = Balance(group(names, centres, rng.integers(0, 2, len(centres))), np.array(shares))
    begin = rng.integers(0, len(shares), 9)
    found = exchange(balance, begin, rng)
    end = balance.total(found)
    assert end <= balance.total(begin)
    for one in range(9):
        for fold in range(len(shares)):
            assert balance.total(np.where(np.arange(9) == one, fold, found)) >= end - 1e-9
        for two in range(one):
            swapped = found.copy()
            swapped[[one, two]] = swapped[[two, one]]
            assert balance.total(swapped) >= end - 1e-9


def test_a_class_in_every_fold_comes_before_balance() -> None:
    sizes, rare = {"x": 5, "y": 5, "z": 10}, {"x": 1, "y": 1}
    centres = [name for part in (sizes, rare) for name, size in part.items() for _ in range(size)]
    strata = np.repeat([0, 1], [20, 2])
    folds = make_folds([str(row) for row in range(22)], centres, strata, FoldSpec(count=2, by="centre"))[0]
    assert folds[-1] != folds[-2]  # though z against x and y together would be 10 against 10


def test_search_is_as_good_as_an_independent_stratified_split_by_patient() -> None:
    from sklearn.model_selection import StratifiedGroupKFold

    rng = np.random.default_rng(0)
    of = np.repeat(np.arange(80), rng.integers(1, 6, 80))
    strata = rng.integers(0, 3, 80)[of]
    patients = [f"p{index:02}" for index in of]
    balance = Balance(group(patients, None, strata), np.full(5, 0.2))
    theirs = np.zeros(80, np.int64)
    for fold, (_, judged) in enumerate(StratifiedGroupKFold(5).split(of, strata, of)):
        theirs[of[judged]] = fold
    ours = make_folds(patients, [""] * len(patients), strata, FoldSpec())[0]
    found = np.zeros(80, np.int64)
    found[balance.groups.of] = ours
    assert balance.total(found) <= balance.total(theirs)
