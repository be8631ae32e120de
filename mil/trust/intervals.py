"""Intervals of a value that hold the truth with a stated probability: conformalised quantile regression.

Romano, Patterson and Candès, NeurIPS 2019, arXiv:1905.03222. Without quantiles both ends are the prediction, and the
score is the absolute residual of split conformal prediction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mil.errors import CalibrationError
from mil.trust.parts import patient_rows, some_patients
from mil.trust.quantile import conformal_quantile


@dataclass(frozen=True)
class Intervals:
    """By how much the predicted quantiles are moved outwards."""

    alpha: float
    margin: float | None
    """In the unit of the target, negative where the quantiles were too wide; None: too few patients for alpha."""
    patients: int

    def ends(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Widen the predictions.

        Args:
            values: Predicted quantiles, rising, or the one predicted value [N, K].

        Returns:
            Lower and upper end [N, 2]; infinite where patients are too few. An interval that would turn round is the
            point in its middle.
        """
        margin = np.inf if self.margin is None else self.margin
        low, high = values.min(axis=1) - margin, values.max(axis=1) + margin
        middle = (low + high) / 2 if np.isfinite(margin) else np.zeros(len(values))
        return np.column_stack([np.minimum(low, middle), np.maximum(high, middle)])


def fit_intervals(
    values: NDArray[np.float64], truth: NDArray[np.float64], patients: Sequence[str], alpha: float
) -> Intervals:
    """Fit the margin.

    Args:
        values: Predicted quantiles or value, of cases the model was not trained on [N, K].
        truth: The true value [N]; NaN where not known.
        patients: One a case [N].
        alpha: Share of intervals that may miss the truth.

    Returns:
        The margin.

    Raises:
        CalibrationError: Alpha is no such share, or no value is known.
    """
    if not 0.0 < alpha < 1.0:
        raise CalibrationError(f"The share of intervals that may miss must lie between 0 and 1; it is {alpha:g}.")
    known = np.flatnonzero(~np.isnan(truth))
    if not known.size:
        raise CalibrationError("Intervals need cases whose value is known; there is none.")
    people = some_patients(patients, known)
    given, true = values[known], truth[known]
    outside = np.maximum(given.min(axis=1) - true, true - given.max(axis=1))
    count = int(patient_rows(people).max()) + 1
    return Intervals(float(alpha), conformal_quantile(outside, people, alpha), count)
