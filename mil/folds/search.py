"""Search for balanced folds: greedy, then exchanges as long as they help, from several beginnings."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from mil.folds.balance import NEAR, Balance

STARTS: Final = 16
"""Beginnings at most; each ends where no exchange helps, and the best end is taken."""
TRIED: Final = 6400
"""Groups that all beginnings together go through, more or less: the more groups, the nearer each end is to balance."""
SWEEPS: Final = 20
"""Times that all groups are tried from one beginning."""


def search(balance: Balance, rng: np.random.Generator) -> NDArray[np.int64]:
    """Find folds that are near balance.

    Args:
        balance: The measure.
        rng: Of the beginnings and the tries.

    Returns:
        Fold of each group [groups]; never worse than the greedy ones.
    """
    best = exchange(balance, greedy(balance, rng), rng)
    for _ in range(min(STARTS, max(2, TRIED // len(best))) - 1):
        if balance.is_best(best):
            break
        other = exchange(balance, greedy(balance, rng, noise=1.0), rng)
        best = other if balance.total(other) < balance.total(best) - NEAR else best
    return best


def greedy(balance: Balance, rng: np.random.Generator, noise: float = 0.0) -> NDArray[np.int64]:
    """Give each group, the largest first, to the fold that lacks most of what it has.

    Args:
        balance: The measure.
        rng: Orders groups of one size.
        noise: How much chance decides which is taken for larger; 0 for not at all.

    Returns:
        Fold of each group [groups].
    """
    counts, short = balance.groups.counts, balance.target.copy()
    order = rng.permutation(len(counts))
    rank = -counts[order].sum(axis=1) * rng.uniform(1 - noise, 1 + noise, len(order))
    folds = np.zeros(len(counts), np.int64)
    for index in order[np.argsort(rank, kind="stable")]:
        folds[index] = fold = int((short @ counts[index]).argmax())
        short[fold] -= counts[index]
    return folds


def exchange(balance: Balance, folds: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Move groups, or let two change places, as long as that helps.

    Args:
        balance: The measure.
        folds: Fold of each group [groups].
        rng: Orders the tries.

    Returns:
        Folds that are no worse.
    """
    folds, load = folds.copy(), balance.load(folds)
    kinds, kind = np.unique(balance.groups.counts, axis=0, return_inverse=True)
    for _ in range(SWEEPS):
        if balance.is_best(folds):
            break
        # groups with the same cases in the same fold are interchangeable, so that one of them is tried for all
        _, tried = np.unique(folds * len(kinds) + kind.ravel(), return_index=True)
        if not sum(_improve(balance, (folds, load), tried, int(index)) for index in rng.permutation(tried)):
            break
    return folds


def _improve(
    balance: Balance, state: tuple[NDArray[np.int64], NDArray[np.int64]], others: NDArray[np.int64], index: int
) -> bool:
    """Make the best move or exchange of one group, in place; says whether any helped."""
    (folds, load), target, counts = state, balance.target, balance.groups.counts
    own, mine, now = int(folds[index]), counts[index], balance.of(load, target)
    move = balance.of(load[own] - mine, target[own]) + balance.of(load + mine, target) - now - now[own]
    move[own] = 0.0
    there, change = folds[others], counts[others] - mine  # what this group's fold wins if the two change places
    swap = balance.of(load[own] + change, target[own]) + balance.of(load[there] - change, target[there])
    swap = np.where(there == own, 0.0, swap - now[there] - now[own])
    if min(move.min(), swap.min()) >= -NEAR:
        return False
    if move.min() <= swap.min():
        other, gain = int(move.argmin()), mine
    else:
        partner = int(others[swap.argmin()])
        other, gain = int(folds[partner]), mine - counts[partner]
        folds[partner] = own
    folds[index] = other
    load[other] += gain
    load[own] -= gain
    return True
