"""Leave one centre out: each centre is a fold of its own, small ones pooled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mil.errors import FoldError
from mil.folds.groups import Groups


def leave_out(groups: Groups, pool: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Make a fold of each centre.

    A centre of fewer than `pool` cases is put together with others of that kind, in random order, until they have as
    many; what remains at the end joins the last of these, or the smallest fold.

    Args:
        groups: Centres, tied where they share a patient.
        pool: Cases that a fold has at least.
        rng: Orders the small centres.

    Returns:
        Fold of each group [groups].

    Raises:
        FoldError: There is but one fold, or a class is in one fold alone, so that nothing is left to learn it from.
    """
    sizes = groups.counts.sum(axis=1)
    folds = np.full(len(groups), -1, np.int64)
    large = np.flatnonzero(sizes >= pool)
    folds[large] = np.arange(len(large))
    count, held = len(large), 0
    for index in rng.permutation(np.flatnonzero(sizes < pool)):
        folds[index], held = count, held + int(sizes[index])
        if held >= pool:
            count, held = count + 1, 0
    if held and count:
        smallest = int(np.bincount(folds, sizes)[:count].argmin())
        folds[folds == count] = count - 1 if count > len(large) else smallest
    if folds.max() < 1:
        raise FoldError(f"There is one centre of at least {pool} cases, and none to learn from when it is left out.")
    for stratum, column in zip(groups.strata, groups.counts.T, strict=True):
        if stratum >= 0 and len(np.unique(folds[column > 0])) < 2:
            raise FoldError(f"Class {stratum} is found in one centre alone, so it cannot be learnt from the others.")
    return folds
