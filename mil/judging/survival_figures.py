"""The figures of `judge_survival`, each with its interval or with the reason why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mil.judging.bootstrap import Resampling, Statistic
from mil.judging.figure import Json, figure
from mil.judging.survival_brier import brier
from mil.judging.survival_calibration import groups_of_prediction
from mil.judging.survival_concordance import concordance, dynamic_auc
from mil.judging.survival_outcomes import Outcomes
from mil.judging.survival_predicted import Predicted
from mil.judging.survival_product_limit import Steps, censoring_steps, survival_steps

NO_PAIR: Final = "no case had the event while another was watched longer"
NO_CURVE: Final = "no survival was predicted, and there are no training cases to make it of"
TOO_LATE: Final = "hardly anybody is watched so long"
NOBODY: Final = "nobody had the event by then, or nobody was watched longer"


@dataclass(frozen=True, eq=False)
class Work:
    """What the figures share."""

    outcomes: Outcomes
    training: Outcomes | None
    """They fix the weights against censoring and the reference; where it is None, each resample makes its own."""
    resampling: Resampling

    @property
    def base(self) -> Outcomes:
        """The cases that fix what is fixed: those of training where there are any."""
        return self.outcomes if self.training is None else self.training

    @property
    def until(self) -> float:
        """Last time that is judged."""
        return min(self.outcomes.followed_until, self.base.followed_until)

    def ranking(self) -> dict[str, Json]:
        """Concordance over the whole of follow-up.

        Returns:
            `harrell_c` and `uno_c`.
        """

        def both(weights: NDArray[np.float64]) -> NDArray[np.float64]:
            free = self._uncensored(weights).before(self.outcomes.times)
            return np.stack(concordance(weights, self.outcomes, free, self.until), axis=1)

        harrell, uno = self._judged(both, (NO_PAIR, f"{NO_PAIR}, before {TOO_LATE}"))
        return {"harrell_c": harrell, "uno_c": uno}

    def auc(self, horizon: float) -> Json:
        """Cumulative/dynamic AUC.

        Args:
            horizon: The time.

        Returns:
            A figure with its `time`.
        """
        if horizon >= self.until:
            return {"time": horizon, **figure(np.nan, reason=TOO_LATE)}

        def area(weights: NDArray[np.float64]) -> NDArray[np.float64]:
            free = self._uncensored(weights).before(self.outcomes.times)
            return dynamic_auc(weights, self.outcomes, free, np.array([horizon]))

        return {"time": horizon, **self._judged(area, (NOBODY,))[0]}

    def brier(self, predicted: Predicted | None, grid: NDArray[np.float64]) -> Json:
        """Brier scores over time and in one number.

        Args:
            predicted: The curves, if there are any.
            grid: Times; those that hardly anybody reaches are left out.

        Returns:
            `times`, `score` and `reference` (lists), the figures `integrated` and `reference_integrated`, and `skill`,
            1 minus their ratio: above 0 is better than the Kaplan-Meier curve.
        """
        times, names = grid[grid < self.until], ("integrated", "reference_integrated", "skill")
        if predicted is None or not times.size:
            why = NO_CURVE if predicted is None else f"{TOO_LATE}, at any time of the grid"
            return {"times": [], "score": [], "reference": [], **dict.fromkeys(names, figure(np.nan, reason=why))}
        survival = predicted(times)

        def errors(weights: NDArray[np.float64]) -> NDArray[np.float64]:
            steps = {"uncensored": self._uncensored(weights), "everyone": self._everyone(weights)}
            found = brier(weights, self.outcomes, survival, times, **steps)
            score, reference = found.integrated()
            ratio = np.divide(score, reference, out=np.full_like(score, np.nan), where=reference > 0)
            return np.column_stack([score, reference, 1 - ratio, found.score, found.reference])

        whole = errors(np.ones((1, len(self.outcomes))))[0, 3:].reshape(2, -1)
        judged = self._judged(lambda weights: errors(weights)[:, :3], (NOBODY, NOBODY, "the reference makes no error"))
        curves = {"times": times.tolist(), "score": whole[0].tolist(), "reference": whole[1].tolist()}
        return {**curves, **dict(zip(names, judged, strict=True))}

    def calibration(self, predicted: Predicted | None, horizon: float) -> Json:
        """Predicted against observed risk at one time.

        Args:
            predicted: The curves, if there are any.
            horizon: The time.

        Returns:
            `time`; the figures `expected` and `observed` (shares with the event by then) and `observed_to_expected` (1
            is right, more is too hopeful); and `groups` of like prediction.
        """
        if predicted is None or horizon >= self.until:
            why = NO_CURVE if predicted is None else TOO_LATE
            return {"time": horizon, "observed_to_expected": figure(np.nan, reason=why), "groups": []}
        at = np.array([horizon])
        survival = predicted(at)[:, 0]

        def shares(weights: NDArray[np.float64]) -> NDArray[np.float64]:
            observed = 1 - survival_steps(weights, self.outcomes).at(at)[:, 0]
            expected = weights @ (1 - survival) / weights.sum(axis=1)
            ratio = np.divide(observed, expected, out=np.full_like(observed, np.nan), where=expected > 0)
            return np.column_stack([expected, observed, ratio])

        names = ("expected", "observed", "observed_to_expected")
        judged = self._judged(shares, (NOBODY, NOBODY, "no event was expected"))
        groups = groups_of_prediction(self.outcomes, survival, horizon)
        return {"time": horizon, **dict(zip(names, judged, strict=True)), "groups": groups}

    def _judged(self, statistic: Statistic, reasons: Sequence[str]) -> list[Json]:
        """Figures with intervals, or with the reason why there is no value."""
        found = self.resampling.intervals(statistic)
        rows = zip(found.value.tolist(), *found.ends.tolist(), reasons, strict=True)
        return [figure(value, low, high, "" if np.isfinite(value) else why) for value, low, high, why in rows]

    def _uncensored(self, weights: NDArray[np.float64]) -> Steps:
        """Probability G of not being censored."""
        return censoring_steps(self._fixing(weights), self.base)

    def _everyone(self, weights: NDArray[np.float64]) -> Steps:
        """Kaplan-Meier curve of the reference."""
        return survival_steps(self._fixing(weights), self.base)

    def _fixing(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Weights of the cases of `base`."""
        return weights if self.training is None else np.ones((1, len(self.training)))
