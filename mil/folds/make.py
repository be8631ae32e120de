"""Make folds: the groups that must stay whole, split so that every fold has its share of every class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mil.errors import FoldError
from mil.folds.balance import Balance
from mil.folds.centres import leave_out
from mil.folds.exact import MAX_CHOICES, exact
from mil.folds.groups import Groups, group
from mil.folds.search import search
from mil.folds.spec import By, FoldSpec


def make_folds(
    patients: Sequence[str], centres: Sequence[str], strata: NDArray[np.int64], spec: FoldSpec
) -> NDArray[np.int64]:
    """Split cases into folds.

    The folds depend on the names of patients and centres, the classes and the seed, and not on the order of the rows.
    Where centres stay whole, so do patients: centres that share one are tied together. Of few centres, the first repeat
    is the most balanced split there is; later ones are as good as exchanges make them, so that they differ.

    Args:
        patients: One a case.
        centres: One a case; not looked at by patient.
        strata: Class of each case [cases], as `Task.strata` gives it; -1 where not known.
        spec: How.

    Returns:
        The fold in which each case is judged, int64 [repeats, cases]; each class is in each fold (and, where single
        centres are left out, in what remains of each). If that cannot be had, a `FoldError` says which class.
    """
    groups = group(patients, None if spec.by == "patient" else centres, strata)
    made = np.zeros((spec.repeats, len(patients)), np.int64)
    for repeat in range(spec.repeats):
        rng = np.random.default_rng([spec.seed, repeat])
        if spec.by == "leave-one-centre-out":
            made[repeat] = leave_out(groups, spec.pool, rng)[groups.of]
        else:
            shares = np.full(spec.count, 1 / spec.count)
            made[repeat] = _split(groups, shares, rng, best=repeat == 0 and spec.by == "centre")[groups.of]
    return made


def inner_folds(
    rows: NDArray[np.int64],
    patients: Sequence[str],
    centres: Sequence[str],
    strata: NDArray[np.int64],
    spec: FoldSpec,
) -> NDArray[np.int64]:
    """Split the training cases of one fold again, by the same rule, for choices that the judged cases may not see.

    Args:
        rows: The training cases.
        patients: One a case, of all cases.
        centres: One a case.
        strata: [cases].
        spec: How.

    Returns:
        int64 [repeats, cases]; -1 for cases that are not among the rows.
    """
    own = [int(row) for row in rows]
    made = np.full((spec.repeats, len(patients)), -1, np.int64)
    made[:, rows] = make_folds([patients[row] for row in own], [centres[row] for row in own], strata[rows], spec)
    return made


def hold_out(
    patients: Sequence[str],
    centres: Sequence[str],
    strata: NDArray[np.int64],
    share: float,
    seed: int,
    *,
    by: By = "patient",
) -> NDArray[np.bool_]:
    """Choose cases to stop early by, by the rules of folds.

    Args:
        patients: One a case.
        centres: One a case; not looked at by patient.
        strata: Class of each case [cases], -1 where not known.
        share: Of the cases, above 0 and below 1.
        seed: Of the choice.
        by: What stays whole; a centre also where single ones are left out.

    Returns:
        True where a case is held out [cases]; both parts have every class.

    Raises:
        FoldError: The share is no share.
    """
    if not 0 < share < 1:
        raise FoldError("The share that is held out must lie between 0 and 1.")
    groups = group(patients, None if by == "patient" else centres, strata)
    parts = _split(groups, np.array([1 - share, share]), np.random.default_rng([seed, 0]), best=False)
    return np.asarray(parts[groups.of] == 1)


def _split(groups: Groups, shares: NDArray[np.float64], rng: np.random.Generator, *, best: bool) -> NDArray[np.int64]:
    """Split groups by search and, where the best is wanted or the search fails, exactly if there are few.

    Raises:
        FoldError: A part lacks a class; says which.
    """
    for stratum, column in zip(groups.strata, groups.counts.T, strict=True):
        if stratum >= 0 and np.count_nonzero(column) < len(shares):
            raise FoldError(
                f"Class {stratum} has {np.count_nonzero(column)} {groups.word}; each of {len(shares)} parts needs one. "
                "Fewer folds (`count`) may do."
            )
    if len(groups) < len(shares):
        raise FoldError(f"There are {len(groups)} {groups.word}; each of {len(shares)} parts needs one. Ask for fewer.")
    balance = Balance(groups, shares)
    folds = search(balance, rng)
    wanted = not balance.is_best(folds) if best else bool(balance.lacking(folds).any())
    if wanted and len(groups) * len(shares) <= MAX_CHOICES:
        other = exact(balance)
        folds = folds if other is None or balance.total(other) >= balance.total(folds) else other
    lacking = groups.strata[balance.lacking(folds)]
    if len(lacking):
        raise FoldError(f"Class {lacking[0]} is in too few {groups.word} to be in each of {len(shares)} parts.")
    return folds
