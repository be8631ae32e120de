"""Folds: a partition that splits no patient and no centre, balanced by class, and the same however the rows stand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mil.cohort.read import read_cohort
from mil.cohort.spec import CohortSpec
from mil.errors import FoldError
from mil.folds import FoldSpec, check_folds, hold_out, inner_folds, make_folds, read_folds
from mil.folds.balance import Balance
from mil.folds.groups import group
from mil.folds.search import greedy, search
from mil.folds.spec import By

Cases = tuple[list[str], list[str], NDArray[np.int64]]


@st.composite
def cases(draw: st.DrawFn, largest: int = 60) -> Cases:
    """Patients with one to four slides, in centres of any size, now and then in two; classes 0, 1 and not known."""
    seed = draw(st.integers(0, 2**32 - 1))
    count, centres = draw(st.integers(12, largest)), draw(st.integers(2, 14))
    rng = np.random.default_rng(seed)
    patients, places, strata = [], [], []
    for patient in range(count):
        home = int(rng.integers(centres)) if rng.random() < 0.8 else 0
        for _ in range(int(rng.choice([1, 1, 1, 2, 4]))):
            patients.append(f"p{patient}")
            places.append(f"c{home if rng.random() < 0.98 else rng.integers(centres)}")
            strata.append(int(rng.choice([0, 0, 1, -1])))
    return patients, places, np.array(strata)


def made(given_cases: Cases, spec: FoldSpec) -> NDArray[np.int64]:
    """Folds, for cases that can be split so."""
    try:
        return make_folds(*given_cases, spec)
    except FoldError:
        assume(False)  # noqa: FBT003 - hypothesis' own way to pass on
        raise


def sides(names: Sequence[str], folds: NDArray[np.int64]) -> int:
    """The most folds that one name is in."""
    return max(len(set(folds[np.array(names) == name].tolist())) for name in set(names))


@settings(max_examples=30)
@given(cases(), st.sampled_from(["patient", "centre", "leave-one-centre-out"]), st.integers(2, 4))
def test_folds_are_a_partition_that_splits_nothing_and_has_every_class(given_cases: Cases, by: By, count: int) -> None:
    patients, centres, strata = given_cases
    folds = made(given_cases, FoldSpec(count=count, repeats=2, by=by, pool=4))
    assert folds.shape == (2, len(patients))
    for repeat in folds:
        assert sides(patients, repeat) == 1
        if by != "patient":
            assert sides(centres, repeat) == 1
        alone = by == "leave-one-centre-out"  # then it is what remains that must have every class
        assert set(repeat.tolist()) == set(range(int(repeat.max()) + 1 if alone else count))
        for fold in set(repeat.tolist()):
            part = strata[(repeat == fold) != alone]
            assert {0, 1} & set(strata.tolist()) <= set(part.tolist())


@settings(max_examples=20)
@given(cases(largest=30), st.sampled_from(["patient", "centre", "leave-one-centre-out"]), st.integers(0, 2**32 - 1))
def test_rows_in_another_order_are_in_the_same_folds(given_cases: Cases, by: By, seed: int) -> None:
    patients, centres, strata = given_cases
    spec = FoldSpec(count=2, by=by, pool=4, seed=3)
    folds = made(given_cases, spec)
    order = np.random.default_rng(seed).permutation(len(patients))
    moved = make_folds([patients[row] for row in order], [centres[row] for row in order], strata[order], spec)
    np.testing.assert_array_equal(moved, folds[:, order])


@settings(max_examples=30)
@given(cases(), st.integers(2, 4), st.sampled_from(["patient", "centre"]))
def test_balance_is_never_worse_than_greedy_nor_better_than_can_be(given_cases: Cases, count: int, by: By) -> None:
    patients, centres, strata = given_cases
    balance = Balance(group(patients, centres if by == "centre" else None, strata), np.full(count, 1 / count))
    assume(len(balance.groups) >= count)
    first = balance.total(greedy(balance, np.random.default_rng(1)))
    found = balance.total(search(balance, np.random.default_rng(1)))
    assert balance.bounds().sum() - 1e-9 <= found <= first


def test_repeats_and_seeds_differ_and_each_is_reproducible() -> None:
    patients, strata = [f"p{row}" for row in range(60)], np.arange(60) % 2
    centres = [f"c{row % 12}" for row in range(60)]
    for by in ("patient", "centre"):
        folds = make_folds(patients, centres, strata, FoldSpec(count=3, repeats=3, by=by))
        again = make_folds(patients, centres, strata, FoldSpec(count=3, repeats=3, by=by))
        np.testing.assert_array_equal(folds, again)
        assert len({tuple(repeat.tolist()) for repeat in folds}) == 3


def test_a_patient_in_two_centres_ties_them_together() -> None:
    patients = ["a", "a", *map(str, range(18))]
    centres = ["x", "y", *("xyzuvw"[row % 6] for row in range(18))]
    folds = make_folds(patients, centres, np.arange(20) % 2, FoldSpec(count=2, by="centre"))[0]
    assert len({fold for fold, centre in zip(folds.tolist(), centres, strict=True) if centre in "xy"}) == 1


def test_left_out_centres_are_alone_and_small_ones_are_pooled_to_the_size_asked_for() -> None:
    centres = ["big"] * 12 + ["also"] * 11 + [f"s{row % 7}" for row in range(23)]
    folds = make_folds(
        [str(row) for row in range(46)], centres, np.arange(46) % 2, FoldSpec(by="leave-one-centre-out", pool=10)
    )[0]
    sizes = np.bincount(folds)
    assert sizes.min() >= 10
    assert len(set(folds[:12].tolist())) == len(set(folds[12:23].tolist())) == 1
    assert folds[0] not in folds[12:]
    assert folds[12] not in folds[23:]
    assert len(sizes) == 4


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (FoldSpec(count=3), "Class 1 has 2 patients"),
        (FoldSpec(count=3, by="centre"), "Class 1 has 2 centres"),
        (FoldSpec(count=5), "Class 1 has 2"),
    ],
)
def test_a_class_that_is_too_rare_is_named(spec: FoldSpec, words: str) -> None:
    patients, centres = list("aabcdefg"), list("xxyzuvwt")
    with pytest.raises(FoldError, match=words):
        make_folds(patients, centres, np.array([1, 1, 1, 0, 0, 0, 0, 0]), spec)


def test_what_cannot_be_split_is_refused() -> None:
    ones = np.ones(3, np.int64)
    with pytest.raises(FoldError, match=r"Case 2 has no centre \(1 in all\)"):
        make_folds(list("abc"), ["x", "", "y"], ones, FoldSpec(count=2, by="centre"))
    with pytest.raises(FoldError, match="There are 1 patients"):
        make_folds(list("aaa"), list("xxx"), -ones, FoldSpec(count=2))
    with pytest.raises(FoldError, match="0 patients"):
        make_folds([], [], ones[:0], FoldSpec())
    with pytest.raises(FoldError, match="one centre of at least 2 cases"):
        make_folds(list("abc"), list("xxy"), -ones, FoldSpec(by="leave-one-centre-out", pool=2))
    with pytest.raises(FoldError, match="Class 1 is found in one centre alone"):
        make_folds(list("abc"), list("xyz"), np.array([0, 0, 1]), FoldSpec(by="leave-one-centre-out", pool=1))
    for wrong in ({"count": 1}, {"repeats": 0}, {"pool": 0}):
        with pytest.raises(FoldError, match="2 or more"):
            FoldSpec(**wrong)  # type: ignore[arg-type]


def test_classes_that_cannot_all_be_parted_are_named_though_each_is_common() -> None:
    # three centres, each pair of which shares a class that is nowhere else: two of them must be in one of two folds
    with pytest.raises(FoldError, match=r"Class \d is in too few centres to be in each of 2 parts"):
        make_folds(list("abcdef"), list("xyyzzx"), np.array([0, 0, 1, 1, 2, 2]), FoldSpec(count=2, by="centre"))


@settings(max_examples=15)
@given(cases(), st.floats(0.1, 0.5), st.sampled_from(["patient", "centre"]))
def test_what_is_held_out_splits_nothing_and_has_every_class(given_cases: Cases, share: float, by: By) -> None:
    patients, centres, strata = given_cases
    try:
        held = hold_out(*given_cases, share, 1, by=by)
    except FoldError:
        return
    assert sides(patients, held.astype(np.int64)) == 1
    assert by == "patient" or sides(centres, held.astype(np.int64)) == 1
    for part in (held, ~held):
        assert {0, 1} & set(strata.tolist()) <= set(strata[part].tolist())
    if by == "patient":
        assert abs(held.mean() - share) <= 8 / len(held)


def test_a_share_that_is_none_and_a_class_of_one_patient_cannot_be_held_out() -> None:
    for share in (0.0, 1.0):
        with pytest.raises(FoldError, match="between 0 and 1"):
            hold_out(list("ab"), list("xy"), np.zeros(2, np.int64), share, 0)
    with pytest.raises(FoldError, match="Class 1 has 1 patients"):
        hold_out(list("abcc"), list("xyzz"), np.array([0, 0, 1, 1]), 0.3, 0)


def test_inner_folds_are_made_of_training_cases_alone_and_do_not_see_the_others() -> None:
    patients = [f"p{row // 2}" for row in range(80)]
    centres, strata = ["x"] * 80, np.arange(80) // 2 % 2
    outer = make_folds(patients, centres, strata, FoldSpec(count=4))[0]
    rows = np.flatnonzero(outer != 1)
    inner = inner_folds(rows, patients, centres, strata, FoldSpec(count=3, repeats=2))
    assert (inner[:, outer == 1] == -1).all()
    assert set(inner[0, rows].tolist()) == {0, 1, 2}
    assert sides(patients, inner[0]) == 1
    other = strata.copy()
    other[outer == 1] = 7
    np.testing.assert_array_equal(inner, inner_folds(rows, patients, centres, other, FoldSpec(count=3, repeats=2)))


def test_folds_of_a_column_are_numbered_and_checked_by_row() -> None:
    assert read_folds(["10", "9", "10", "2"]).tolist() == [2, 1, 2, 0]
    assert read_folds(["b", "a"]).tolist() == [1, 0]
    with pytest.raises(FoldError, match="Row 7 is in no fold"):
        read_folds(["1", ""], rows=[4, 7])
    with pytest.raises(FoldError, match="one fold"):
        read_folds(["1", "1"])
    check_folds(np.array([0, 1, 0]), ["a", "b", "a"])
    with pytest.raises(FoldError, match="Rows 1 and 3 "):
        check_folds(np.array([0, 1, 1]), ["a", "b", "a"])
    with pytest.raises(FoldError, match="Rows 5 and 9 "):
        check_folds(np.array([[0, 1, 0], [0, 1, 1]]), ["a", "b", "a"], rows=[5, 7, 9])
    with pytest.raises(FoldError, match="folds for 2 cases"):
        check_folds(np.array([0, 1]), ["a"])


def test_real_centres_stay_whole_and_each_fold_has_its_share(data_dir: Path) -> None:
    folder, known = data_dir / "bags", CohortSpec(where={"msi": ("MSI-H", "MSI-L", "MSS")})
    cohort = read_cohort(folder / "tcga_bags.npz", folder / "tcga_labels.csv", known, ["msi"])
    patients, centres = [case.patient for case in cohort.cases], [case.centre for case in cohort.cases]
    strata = np.array([text == "MSI-H" for text in cohort.table["msi"]], np.int64)
    folds = make_folds(patients, centres, strata, FoldSpec(by="centre"))[0]
    assert sides(centres, folds) == sides(patients, folds) == 1
    assert np.bincount(folds, strata).min() >= 0.8 * strata.sum() / 5
    assert np.bincount(folds).min() >= 0.9 * len(folds) / 5
