"""Is the predicted survival what is observed? At stated times, for all cases and for groups of like prediction."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from mil.judging.survival_curves import kaplan_meier, known
from mil.judging.survival_outcomes import Outcomes
from mil.judging.survival_product_limit import survival_steps
from mil.judging.survival_resampling import figure

GROUPS: Final = 5
LEAST: Final = 10
"""Cases of a group; with fewer, the observed curve is anything."""


def calibration_at(
    weights: NDArray[np.float64], outcomes: Outcomes, predicted: NDArray[np.float64], horizon: float, draws: int
) -> dict[str, object]:
    """Set predicted against observed risk at one time.

    Args:
        weights: Of the cases [W, n], as `weightings` gives them.
        outcomes: The cases.
        predicted: Survival at that time that was predicted for each [n].
        horizon: The time.
        draws: How many of the weightings are draws.

    Returns:
        `time`; `expected` and `observed` share with the event by then; `observed_to_expected` with its interval (1 is
        right, more is too hopeful); `groups`, from low predicted risk to high.
    """
    observed = 1 - survival_steps(weights, outcomes).at(np.array([horizon]))[:, 0]
    expected = weights @ (1 - predicted) / weights.sum(axis=1)
    ratio = np.divide(observed, expected, out=np.full_like(observed, np.nan), where=expected > 0)
    parts = np.array_split(np.argsort(-predicted, kind="stable"), max(1, min(GROUPS, len(predicted) // LEAST)))
    return {
        "time": float(horizon),
        "expected": float(expected[0]),
        "observed": float(observed[0]),
        "observed_to_expected": figure(ratio, draws, "no event was expected"),
        "groups": [_group(outcomes, predicted, rows, horizon) for rows in parts],
    }


def _group(
    outcomes: Outcomes, predicted: NDArray[np.float64], rows: NDArray[np.intp], horizon: float
) -> dict[str, object]:
    fitter = kaplan_meier(outcomes.times[rows], outcomes.events[rows])
    lower, upper = fitter.confidence_interval_.loc[:horizon].to_numpy()[-1]
    return {
        "n": len(rows),
        "expected": float(1 - predicted[rows].mean()),
        "observed": float(1 - fitter.predict(horizon)),
        "interval": [known(1 - upper), known(1 - lower)],
    }
