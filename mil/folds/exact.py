"""The best folds there are, for few groups: the L1 form as a mixed integer program, solved by HiGHS through SciPy."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from mil.extra import library
from mil.folds.balance import Balance

MAX_CHOICES: Final = 200
"""Groups times folds up to which the program is tried; beyond it exchanges are as good and much faster."""
SECONDS: Final = 5.0
NODES: Final = 1000
"""Ends the search alike on every machine; the time limit is for one that is very slow."""


def exact(balance: Balance) -> NDArray[np.int64] | None:
    """Solve for the folds with the least imbalance.

    Args:
        balance: The measure.

    Returns:
        Fold of each group [groups]; None where none was found within the limits.
    """
    optimize, sparse = library("scipy.optimize"), library("scipy.sparse")
    counts, wanted = balance.groups.counts, balance.target.T.ravel()
    (groups, strata), folds = counts.shape, len(balance.shares)
    chosen, distances = groups * folds, strata * folds  # x[g, f], whether g is in f; d[v, f], how far f is from balance
    one, spread = (sparse.kron(sparse.eye(many), np.ones((1, folds))) for many in (groups, strata))
    load, far = sparse.kron(counts.T, sparse.eye(folds)), sparse.eye(distances)
    every = sparse.bmat([[one, None], [load, -far], [load, far], [load, 0 * far], [None, spread]])
    known = balance.bounds()  # no folds are better; told so, the solver knows when to stop
    lower = [np.ones(groups), np.full(distances, -np.inf), wanted, np.repeat(balance.groups.required, folds), known]
    upper = [np.ones(groups), wanted, *(np.full(many, np.inf) for many in (distances, distances, strata))]
    found = optimize.milp(
        np.repeat([0.0, 1.0], [chosen, distances]),
        integrality=np.repeat([1, 0], [chosen, distances]),
        bounds=optimize.Bounds(0, np.append(_allowed(balance).ravel(), np.full(distances, np.inf))),
        constraints=optimize.LinearConstraint(every.tocsr(), np.concatenate(lower), np.concatenate(upper)),
        options={"time_limit": SECONDS, "node_limit": NODES},
    )
    if found.x is None:
        return None
    return np.asarray(found.x[:chosen].reshape(groups, folds).argmax(axis=1), np.int64)


def _allowed(balance: Balance) -> NDArray[np.float64]:
    """Which folds a group may be in: those of equal shares are interchangeable, so the n largest use the first n."""
    counts, folds = balance.groups.counts, len(balance.shares)
    allowed = np.ones((len(counts), folds))
    if np.ptp(balance.shares) == 0:
        largest = np.argsort(-counts.sum(axis=1), kind="stable")[:folds]
        allowed[largest] = np.tri(len(largest), folds)
    return allowed
