"""Everything about a score of risk: does it rank, does it say when, and is it right?

Times that hardly anybody reaches are not judged: until `followed_until` at least one case in twenty is watched.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mil.judging.bootstrap import Resampling
from mil.judging.survival_curves import risk_curves, tertiles
from mil.judging.survival_figures import Work
from mil.judging.survival_outcomes import Outcomes, read_outcomes
from mil.judging.survival_predicted import Predicted, breslow, tabulated

POINTS: Final = 20
"""Times of a grid of our own: enough for trapezia."""


def judge_survival(
    times: ArrayLike,
    events: ArrayLike,
    risk: ArrayLike,
    survival: ArrayLike | None = None,
    grid: ArrayLike | None = None,
    *,
    train: tuple[ArrayLike, ArrayLike, ArrayLike] | None = None,
    horizons: Sequence[float] | None = None,
    patients: Sequence[str] | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, object]:
    """Judge a score of risk against follow-up.

    Args:
        times: Until event or last contact, >= 0 [n].
        events: 1, or 0 where censored [n].
        risk: Larger for an earlier event [n].
        survival: Predicted probability of no event by each time of `grid` [n, G]; where it is None, Breslow's baseline
            of the training cases makes it of the risk, which must then be a log hazard ratio.
        grid: Ascending times [G]; twenty between the 5 % and 90 % quantiles of the event times where it is None.
        train: Times, events and risk of the training cases, which fix cuts, weights against censoring and reference
            curve; where it is None the cases judged do, and `fixed_on` says so.
        horizons: Times for AUC and calibration; quartiles of the event times where it is None.
        patients: Of each case [n], each its own where it is None; resamples draw patients.
        draws: Number of resamples.
        seed: Of the resamples.

    Returns:
        A JSON-able document. A figure has `value`, `interval` and `reason`: what does not exist is None and says why.
    """
    own = read_outcomes(times, events, risk)
    training = None if train is None else read_outcomes(*train)
    names = [str(row) for row in range(len(own))] if patients is None else patients
    work = Work(own, training, Resampling.of(names, np.zeros(len(own), np.int64), count=draws, seed=seed))
    predicted = _predicted(own, training, survival, grid)
    moments = _quantiles(work.base, (0.25, 0.5, 0.75)) if horizons is None else np.asarray(horizons, np.float64)
    return {
        "n": len(own),
        "patients": len(set(names)),
        "events": int(own.events.sum()),
        "followed_until": work.until,
        "fixed_on": "these cases" if training is None else "training cases",
        **work.ranking(),
        "auc": [work.auc(float(moment)) for moment in moments],
        "brier": work.brier(predicted, _grid(work.base, grid)),
        "calibration": [work.calibration(predicted, float(moment)) for moment in moments],
        "curves": risk_curves(own, tertiles(work.base.risk)),
    }


def _predicted(
    own: Outcomes, training: Outcomes | None, survival: ArrayLike | None, grid: ArrayLike | None
) -> Predicted | None:
    if survival is not None:
        return tabulated(survival, [] if grid is None else grid, len(own))
    return None if training is None else breslow(training, own.risk)


def _grid(outcomes: Outcomes, given: ArrayLike | None) -> NDArray[np.float64]:
    """The times that were given, or some between which most events fall."""
    if given is not None:
        return np.asarray(given, np.float64)
    ends = _quantiles(outcomes, (0.05, 0.9))
    return np.unique(np.linspace(ends[0], ends[1], POINTS)) if ends.size else ends


def _quantiles(outcomes: Outcomes, shares: Sequence[float]) -> NDArray[np.float64]:
    """Of the times of the events; none where there are none."""
    events = outcomes.times[outcomes.events]
    return np.quantile(events, shares) if events.size else np.zeros(0)
