"""Weights of a stack, fitted to what its members said of cases they had not seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from mil.errors import LabelError
from mil.extra import library
from mil.tasks.task import Task
from mil.zoom.stack import Stack, present, shares_of

SMALL = 1e-4
"""A weight below this is none: it is where the solver stopped."""


def fit_stack(task: Task, members: Sequence[str], logits: NDArray[np.floating], targets: NDArray[np.float32]) -> Stack:
    """Find the weights whose mixture has the least loss of the task; convex for every task but the hazards' ties.

    Args:
        task: Settled; its own losses are used.
        members: What each is called.
        logits: Out of fold [cases, M, C]: a member that had seen a case would be believed too much. NaN where absent.
        targets: [cases, T].

    Returns:
        The stack; the first to look at is whether a weight is 0.

    Raises:
        LabelError: No case has both a label and a member that scored it.
    """
    there = present(logits)
    known = task.known(torch.from_numpy(targets)).numpy() & there.any(axis=1)
    if not known.any():
        raise LabelError("No case with a label was scored by a member of the stack.")
    filled, there, truth = np.nan_to_num(logits[known]), there[known], torch.from_numpy(targets[known])

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        mixed = torch.from_numpy(_mix(weights, filled, there)).requires_grad_()
        total = task.losses(mixed, truth).double().mean()
        (slope,) = torch.autograd.grad(total, mixed)
        return float(total.detach()), _slope(weights, filled, there, slope.double().numpy())

    start = np.full(len(members), 1 / len(members))
    one = {"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like}
    found = library("scipy.optimize").minimize(
        loss, start, jac=True, bounds=[(0, 1)] * len(start), constraints=one, method="SLSQP", options={"ftol": 1e-9}
    )
    weights = np.where(found.x < SMALL, 0.0, found.x)
    return Stack(tuple(members), tuple((weights / weights.sum()).tolist()))


def stack_out_of_fold(
    task: Task, logits: NDArray[np.floating], targets: NDArray[np.float32], folds: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Judge stacking honestly: the weights for each fold come of the other folds.

    Args:
        task: Settled.
        logits: Out of fold [cases, M, C], NaN where absent.
        targets: [cases, T].
        folds: [cases]; patients must not be split.

    Returns:
        Logits of the stack [cases, C].
    """
    names = [str(member) for member in range(logits.shape[1])]
    found = np.zeros((len(logits), logits.shape[2]), np.float32)
    for fold in np.unique(folds):
        mine = folds == fold
        found[mine] = fit_stack(task, names, logits[~mine], targets[~mine])(logits[mine])
    return found


def _mix(weights: NDArray[np.float64], logits: NDArray[np.floating], there: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.asarray((logits * shares_of(np.maximum(weights, 0), there)[..., None]).sum(axis=1), np.float64)


def _slope(
    weights: NDArray[np.float64],
    logits: NDArray[np.floating],
    there: NDArray[np.bool_],
    slope: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Gradient by the weights [M]: a mixture sum_m w_m l_m / sum_m w_m moves by (l_m - mixture) / sum of weights."""
    total = np.maximum((weights * there).sum(axis=1), SMALL)
    moved = (logits - _mix(weights, logits, there)[:, None]) * there[..., None] / total[:, None, None]
    return np.asarray(np.einsum("bmc,bc->m", moved, slope))
