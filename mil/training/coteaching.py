"""Co-teaching (Han et al. 2018): two heads, each learning the cases that the other finds easy.

A network learns clean labels before it memorises wrong ones, so a case of small loss is likely to be labelled rightly;
two heads that choose for each other do not feed their own mistakes back to themselves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mil.errors import ExperimentError
from mil.tasks.cox import Cox
from mil.tasks.task import Task


@dataclass(frozen=True)
class CoteachingSpec:
    """How many cases are left out."""

    noise: float = 0.0
    """Share of labels that are thought to be wrong; 0 trains one head in the usual way."""
    ramp: int = 10
    """Epochs over which the share that is left out grows from nothing to `noise`, the value of the paper."""

    def __post_init__(self) -> None:
        """Refuse shares that leave too little.

        Raises:
            ExperimentError: Half of the labels or more would be wrong, or the ramp is shorter than an epoch.
        """
        if not 0 <= self.noise < 0.5 or self.ramp < 1:
            raise ExperimentError("The noise of co-teaching must be from 0 to below .5, and its ramp at least 1 epoch.")


def check_coteaching(task: Task, spec: CoteachingSpec) -> None:
    """See that the loss of a case says something about its own label.

    Args:
        task: What is learnt.
        spec: How much is left out.

    Raises:
        ExperimentError: Cases are to be left out of a task that compares the cases of a batch.
    """
    if spec.noise and any(isinstance(part.task, Cox) for part in task.parts):
        raise ExperimentError("Co-teaching looks at each case alone, and Cox regression compares cases; use hazard.")


def kept_share(spec: CoteachingSpec, epoch: int) -> float:
    """Share of a batch that teaches in an epoch.

    Args:
        spec: Noise and ramp.
        epoch: From 1.

    Returns:
        1 - noise * min(epoch / ramp, 1).
    """
    return 1.0 - spec.noise * min(epoch / spec.ramp, 1.0)


def small_losses(losses: Tensor, known: Tensor, share: float) -> Tensor:
    """Choose the cases of smallest loss.

    Args:
        losses: [B].
        known: Which cases say anything, bool [B]; others are not counted and not chosen.
        share: To choose of those that do, rounded up, so that a batch is never left without one.

    Returns:
        bool [B].
    """
    count = math.ceil(share * int(known.sum()) - 1e-9)
    order = losses.detach().masked_fill(~known, torch.inf).argsort(stable=True)
    chosen = torch.zeros_like(known)
    chosen[order[:count]] = True
    return chosen


def exchange(first: Tensor, second: Tensor, known: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Let each head choose for the other.

    Args:
        first: Losses that the first head gives the batch [B].
        second: Those that the second gives it [B].
        known: Which cases say anything, bool [B].
        share: To choose.

    Returns:
        What the first learns, chosen by the second, and what the second learns, chosen by the first, bool [B] each.
    """
    return small_losses(second, known, share), small_losses(first, known, share)
