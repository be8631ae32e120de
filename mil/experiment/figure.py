"""The one figure by which a head and its baseline are compared: the chance that two cases are ranked rightly.

It is the AUROC for a yes or no (the mean over classes where there are several), and Harrell's C for a rank, a value or
a time. All are wins over comparable pairs, so a bootstrap only weighs the pairs anew.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mil.tasks.task import Task

NAMES = {"binary": "AUROC", "multiclass": "mean AUROC", "multilabel": "mean AUROC", "multitask": "mean of its tasks"}
OTHER = "concordance"


@dataclass(frozen=True, eq=False)
class Pairs:
    """Cases that can be compared in one respect."""

    high: NDArray[np.int64]
    """Rows of cases that should score higher [A]."""
    low: NDArray[np.int64]
    """Rows of cases that should score lower than some of these [B]."""
    comparable: NDArray[np.float32]
    """1 where the first should score higher than the second [A, B]."""
    wins: NDArray[np.float32]
    """1 where it does, half where they tie [A, B]."""

    def figure(self, weights: NDArray[np.float64]) -> float:
        """Share of the comparable pairs that are ranked rightly.

        Args:
            weights: How often each case counts [N].

        Returns:
            0 to 1; NaN where no pair is left.
        """
        high, low = weights[self.high].astype(np.float32), weights[self.low].astype(np.float32)
        whole = float(high @ self.comparable @ low)
        return float(high @ self.wins @ low) / whole if whole else float("nan")


def figure_name(task: Task) -> str:
    """What the figure is called.

    Args:
        task: Any.

    Returns:
        A name for people.
    """
    return NAMES.get(task.kind, OTHER)


def comparisons(task: Task, targets: NDArray[np.float32], logits: NDArray[np.float32]) -> list[Pairs]:
    """Compare cases in every respect that the task has.

    Args:
        task: Settled.
        targets: [N, T].
        logits: [N, C].

    Returns:
        One entry a class, label or single task in it.
    """
    found = []
    for part in task.parts:
        truth, said = targets[:, part.targets], logits[:, part.logits]
        if part.task.kind in {"multiclass", "multilabel"}:
            found += _classes(part.task, truth, said)
        else:
            found.append(_ranks(part.task, truth, part.task.score(said)))
    return found


def figure_of(pairs: list[Pairs], weights: NDArray[np.float64]) -> float:
    """The mean over all respects in which there is a pair.

    Args:
        pairs: As `comparisons` gives them.
        weights: How often each case counts [N].

    Returns:
        0 to 1; NaN where there is no pair at all.
    """
    figures = [figure for one in pairs if not np.isnan(figure := one.figure(weights))]
    return float(np.mean(figures)) if figures else float("nan")


def _classes(task: Task, targets: NDArray[np.float32], logits: NDArray[np.float32]) -> list[Pairs]:
    probabilities = task.probabilities(logits)
    found = []
    for k in range(probabilities.shape[1]):
        own = (targets[:, 0] == k) if task.kind == "multiclass" else (targets[:, k] == 1)
        known = ~np.isnan(targets[:, 0] if task.kind == "multiclass" else targets[:, k])
        high, low = np.flatnonzero(own), np.flatnonzero(known & ~own)
        found.append(_pairs(high, low, np.ones((len(high), len(low)), bool), probabilities[:, k]))
    return found


def _ranks(task: Task, targets: NDArray[np.float32], score: NDArray[np.float64]) -> Pairs:
    """Larger targets should score higher; who dies earlier than another is seen alive should score higher."""
    known = np.flatnonzero(~np.isnan(targets).any(axis=1))
    if task.kind == "binary":
        high, low = known[targets[known, 0] == 1], known[targets[known, 0] == 0]
        return _pairs(high, low, np.ones((len(high), len(low)), bool), score)
    if task.kind == "survival":
        time, event = targets[known].T
        high = known[event == 1]
        later = time[None, :] > targets[high, 0][:, None]
        alive = (time[None, :] == targets[high, 0][:, None]) & (event == 0)[None, :]
        return _pairs(high, known, later | alive, score)
    value = targets[known, 0]
    return _pairs(known, known, value[:, None] > value[None, :], score)


def _pairs(
    high: NDArray[np.int64], low: NDArray[np.int64], comparable: NDArray[np.bool_], score: NDArray[np.float64]
) -> Pairs:
    first, second = score[high][:, None], score[low][None, :]
    wins = np.where(comparable, (first > second) + 0.5 * (first == second), 0.0)
    return Pairs(high, low, comparable.astype(np.float32), wins.astype(np.float32))
