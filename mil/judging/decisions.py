"""What yes-or-no answers are worth: counts of a decision, and the rates that follow from them."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

RATES: Final = ("sensitivity", "specificity", "ppv", "npv", "accuracy", "balanced_accuracy", "f1", "mcc")


def confusion(truth: NDArray[np.float64], said: NDArray[np.bool_], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Count right and wrong answers.

    Args:
        truth: 0 or 1 [N].
        said: True where the answer is yes [N].
        weights: [B, N].

    Returns:
        True positives, false positives, false negatives, true negatives [B, 4].
    """
    yes = truth == 1
    return weights @ np.stack([said & yes, said & ~yes, ~said & yes, ~said & ~yes], axis=1).astype(np.float64)


def rates(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rates of `RATES`.

    Args:
        counts: From `confusion` [B, 4].

    Returns:
        [B, 8]; NaN where a rate has no cases. The correlation (Matthews 1975) is 0 where one answer was always given.
    """
    tp, fp, fn, tn = counts.T
    with np.errstate(invalid="ignore", divide="ignore"):
        sensitivity, specificity = tp / (tp + fn), tn / (tn + fp)
        spread = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
        mcc = np.where(spread > 0, (tp * tn - fp * fn) / np.sqrt(spread), 0.0)
        each = [
            sensitivity,
            specificity,
            tp / (tp + fp),
            tn / (tn + fn),
            (tp + tn) / counts.sum(1),
            (sensitivity + specificity) / 2,
            2 * tp / (2 * tp + fp + fn),
            np.where((tp + fn > 0) & (tn + fp > 0), mcc, np.nan),
        ]
    return np.stack(each, axis=1)


def predictive_values(
    sensitivity: NDArray[np.float64], specificity: NDArray[np.float64], prevalence: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What an answer means where the disease is as common as is said, by Bayes.

    Args:
        sensitivity: 0..1 [B].
        specificity: 0..1 [B].
        prevalence: Share of positives where the answers will be used, 0..1.

    Returns:
        Positive and negative predictive value, each [B]; NaN where no such answer is ever given.

    >>> [float(value.round(3)[0]) for value in predictive_values(np.array([0.9]), np.array([0.9]), 0.1)]
    [0.5, 0.988]
    """
    right, wrong = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    missed, clear = (1 - sensitivity) * prevalence, specificity * (1 - prevalence)
    with np.errstate(invalid="ignore", divide="ignore"):
        return right / (right + wrong), clear / (missed + clear)


def wilson(hits: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Interval of a proportion (Wilson 1927); for independent cases.

    Args:
        hits: How many.
        n: Of how many.
        level: Of confidence.

    Returns:
        Lower and upper end; NaN of no case.

    >>> [round(end, 3) for end in wilson(8, 10)]
    [0.49, 0.943]
    """
    if n <= 0:
        return math.nan, math.nan
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, extra = hits / n, z * z / n
    middle, reach = share + extra / 2, z * math.sqrt(share * (1 - share) / n + extra / (4 * n))
    return max(0.0, (middle - reach) / (1 + extra)), min(1.0, (middle + reach) / (1 + extra))
