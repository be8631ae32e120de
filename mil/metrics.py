"""Figures of merit, from first principles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mil.errors import LabelError, MetricError


def roc_auc(labels: Sequence[float] | ArrayLike, scores: Sequence[float] | ArrayLike) -> float:
    """Area under the ROC curve: the chance that a positive outranks a negative, ties counting half.

    It is the Mann-Whitney U statistic over the number of pairs (Hanley & McNeil, Radiology 143:29, 1982), so no curve
    is drawn and ties need no rule.

    Args:
        labels: 0 or 1 [N].
        scores: Any finite numbers [N]; larger means more positive.

    Returns:
        A number from 0 to 1.

    Raises:
        MetricError: The lengths differ, or a score is not finite; labels of one class end in a `LabelError`.

    >>> roc_auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    truth, values = np.asarray(labels, np.float64).ravel(), np.asarray(scores, np.float64).ravel()
    if truth.size != values.size or not np.isfinite(values).all():
        raise MetricError(f"{truth.size} labels need as many finite scores; {np.isfinite(values).sum()} were given.")
    positives = _count_positives(truth)
    rank_sum = midranks(values)[truth == 1].sum()
    wins = rank_sum - positives * (positives + 1) / 2
    return float(wins / (positives * (truth.size - positives)))


def midranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rank values from 1; equal values share the mean of their ranks.

    Args:
        values: Finite numbers [N].

    Returns:
        float64 [N].

    >>> midranks(np.array([5.0, 1.0, 5.0])).tolist()
    [2.5, 1.0, 2.5]
    """
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return np.asarray((last - (count - 1) / 2)[place], np.float64)


def _count_positives(truth: NDArray[np.float64]) -> int:
    if not np.isin(truth, (0, 1)).all():
        raise LabelError("Each label must be 0 or 1.")
    positives = int(truth.sum())
    if positives in {0, truth.size}:
        raise LabelError("Both classes are needed, and only one is there.")
    return positives
