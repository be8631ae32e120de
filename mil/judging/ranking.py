"""What the order of the scores says: the ROC and the precision-recall curve, of thousands of resamples at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mil.errors import LabelError, MetricError

Weights = NDArray[np.float64]
_EDGE = 1e-9
"""Rates are quotients of counts: a hair is not a miss."""


class Ranking:
    """Cases of two classes in the order of their scores; sorted once, then read with any weights [B, N]."""

    def __init__(self, truth: NDArray[np.float64], scores: NDArray[np.float64]) -> None:
        """Sort the cases.

        Args:
            truth: 0 or 1 [N].
            scores: Finite numbers [N]; larger is more positive.

        Raises:
            MetricError: Lengths differ, or a score is not finite.
            LabelError: A label is not 0 or 1.
        """
        if truth.shape != scores.shape or truth.ndim != 1 or not np.isfinite(scores).all():
            raise MetricError(f"{truth.size} labels need as many finite scores.")
        if not np.isin(truth, (0, 1)).all():
            raise LabelError("Each label must be 0 or 1.")
        self._order = np.argsort(-scores, kind="stable")
        ranked = scores[self._order]
        self._last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # ties are one step of the curve
        self._positive = truth[self._order]
        self.cuts: NDArray[np.float64] = ranked[self._last]
        """Scores at which the curve steps, falling [U]."""

    def counts(self, weights: Weights) -> tuple[Weights, Weights]:
        """Positives and negatives with a score at or above each cut.

        Args:
            weights: [B, N].

        Returns:
            True and false positives [B, U + 1], of no case first.
        """
        sorted_weights = weights[:, self._order]
        return self._steps(sorted_weights * self._positive), self._steps(sorted_weights * (1 - self._positive))

    def _steps(self, weights: Weights) -> Weights:
        return np.pad(np.cumsum(weights, axis=1)[:, self._last], ((0, 0), (1, 0)))

    def areas(self, weights: Weights) -> Weights:
        """AUROC (ties count half) and AUPRC (average precision).

        Args:
            weights: [B, N].

        Returns:
            [B, 2]; NaN where a row lacks a class.
        """
        true, false = self.counts(weights)
        with np.errstate(invalid="ignore", divide="ignore"):
            roc = (np.diff(false) * (true[:, 1:] + true[:, :-1])).sum(1) / (2 * true[:, -1] * false[:, -1])
            precision = np.nan_to_num(true[:, 1:] / (true[:, 1:] + false[:, 1:]))
            pr = (np.diff(true) * precision).sum(1) / true[:, -1]
        return np.stack([roc, np.where(np.isfinite(roc), pr, np.nan)], axis=1)

    def sensitivity_at(self, specificity: float, weights: Weights) -> Weights:
        """The best sensitivity that the curve has at a specificity or a higher one.

        Args:
            specificity: 0..1.
            weights: [B, N].

        Returns:
            [B].
        """
        true, false = _rates(*self.counts(weights))
        return _best(true, false <= 1 - specificity + _EDGE)

    def specificity_at(self, sensitivity: float, weights: Weights) -> Weights:
        """The best specificity that the curve has at a sensitivity or a higher one.

        Args:
            sensitivity: 0..1.
            weights: [B, N].

        Returns:
            [B].
        """
        true, false = _rates(*self.counts(weights))
        return _best(1 - false, true >= sensitivity - _EDGE)

    def curve(self) -> dict[str, NDArray[np.float64]]:
        """Both curves of the cases as they are.

        Returns:
            `false_positive_rate`, `recall` (sensitivity) and `precision`, each [U + 1]; precision begins at 1.
        """
        true, false = self.counts(np.ones((1, len(self._order))))
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = (true / (true + false))[0]
        precision[0] = 1.0
        recall, fall_out = _rates(true, false)
        return {"false_positive_rate": fall_out[0], "recall": recall[0], "precision": precision}


def _rates(true: Weights, false: Weights) -> tuple[Weights, Weights]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return true / true[:, -1:], false / false[:, -1:]


def _best(value: Weights, allowed: NDArray[np.bool_]) -> Weights:
    best = np.where(allowed, value, -np.inf).max(axis=1)
    return np.where(np.isfinite(best), best, np.nan)
