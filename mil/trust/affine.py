"""One slope and a few shifts: temperature, Platt and bias-corrected temperature scaling are the same map.

Temperature: Guo et al., ICML 2017, arXiv:1706.04599. Platt, Advances in Large Margin Classifiers, 1999. With a shift
for each class: Alexandari et al., ICML 2020, arXiv:1901.06852.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mil.extra import library
from mil.trust.losses import Loss

SLOPES = (0.01, 100.0)
"""Bounds of the slope in units of the logits' own spread; positive, so that the order of cases is never turned."""


@dataclass(frozen=True)
class Affine:
    """Logits times a slope plus shifts."""

    slope: float
    shifts: tuple[float, ...]
    """One for all logits or one a logit."""

    def __call__(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrate.

        Args:
            logits: [N, C].

        Returns:
            [N, C].
        """
        return np.asarray(logits * self.slope + np.array(self.shifts))


def fit_affine(loss: Loss, logits: NDArray[np.float64], shifts: int) -> Affine:
    """Find the slope and the shifts of least loss.

    Args:
        loss: Of these cases.
        logits: Of these cases [n, C].
        shifts: 0 (temperature), 1 (the same for all logits) or C.

    Returns:
        The map; its slope is positive and bounded.
    """
    spread = float(logits.std()) or 1.0
    bounds = [(np.log(SLOPES[0] / spread), np.log(SLOPES[1] / spread)), *[(-100.0, 100.0)] * shifts]

    def objective(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        slope = np.exp(values[0])
        each, gradient = loss(logits * slope + (values[1:] if shifts else 0.0))
        by_shift = [gradient.sum()] if shifts == 1 else gradient.sum(axis=0)[:shifts]
        return float(each.mean()), np.array([(gradient * logits).sum() * slope, *by_shift]) / len(each)

    start = np.zeros(1 + shifts)
    start[0] = np.clip(0.0, *bounds[0])
    found = library("scipy.optimize").minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return Affine(float(np.exp(found[0])), tuple(float(value) for value in found[1:]) or (0.0,))
