"""Is the predicted survival what is observed? In groups of like prediction, at a stated time."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from mil.judging.figure import Json, number
from mil.judging.survival_curves import kaplan_meier
from mil.judging.survival_outcomes import Outcomes

GROUPS: Final = 5
LEAST: Final = 10
"""Cases of a group; with fewer, the observed curve is anything."""


def groups_of_prediction(outcomes: Outcomes, predicted: NDArray[np.float64], horizon: float) -> list[Json]:
    """Set predicted against observed risk, from low predicted risk to high.

    Args:
        outcomes: The cases.
        predicted: Survival at that time that was predicted for each [n].
        horizon: The time.

    Returns:
        Of each group `n`, `expected` and `observed` share with the event by then, and the `interval` of the latter.
    """
    parts = np.array_split(np.argsort(-predicted, kind="stable"), max(1, min(GROUPS, len(predicted) // LEAST)))
    return [_group(outcomes, predicted, rows, horizon) for rows in parts]


def _group(outcomes: Outcomes, predicted: NDArray[np.float64], rows: NDArray[np.intp], horizon: float) -> Json:
    fitter = kaplan_meier(outcomes.times[rows], outcomes.events[rows])
    lower, upper = fitter.confidence_interval_.loc[:horizon].to_numpy()[-1]
    return {
        "n": len(rows),
        "expected": float(1 - predicted[rows].mean()),
        "observed": float(1 - fitter.predict(horizon)),
        "interval": [number(1 - upper), number(1 - lower)],
    }
