"""The figures of `judge_survival`, each with its interval or with the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mil.judging.survival_brier import brier
from mil.judging.survival_calibration import calibration_at
from mil.judging.survival_concordance import concordance, dynamic_auc
from mil.judging.survival_outcomes import Outcomes
from mil.judging.survival_predicted import Predicted
from mil.judging.survival_product_limit import Steps
from mil.judging.survival_resampling import figure

NO_PAIR: Final = "no case had the event while another was watched longer"
NO_CURVE: Final = "no survival was predicted, and there are no training cases to make it of"
TOO_LATE: Final = "hardly anybody is watched so long"
NOBODY: Final = "nobody had the event by then, or nobody was watched longer"


@dataclass(frozen=True, eq=False)
class Work:
    """What the figures share."""

    outcomes: Outcomes
    weights: NDArray[np.float64]
    """As `weightings` gives them [W, n]."""
    draws: int
    until: float
    """Last time that is judged."""
    uncensored: Steps
    """Probability G of not being censored."""
    everyone: Steps
    """Kaplan-Meier curve of the reference."""

    def ranking(self) -> dict[str, object]:
        """Concordance over the whole of follow-up.

        Returns:
            `harrell_c` and `uno_c`.
        """
        free = self.uncensored.before(self.outcomes.times)
        harrell, uno = concordance(self.weights, self.outcomes, free, self.until)
        return {
            "harrell_c": figure(harrell, self.draws, NO_PAIR),
            "uno_c": figure(uno, self.draws, f"{NO_PAIR}, before {TOO_LATE}"),
        }

    def auc(self, horizon: float) -> dict[str, object]:
        """Cumulative/dynamic AUC.

        Args:
            horizon: The time.

        Returns:
            A figure with its `time`.
        """
        if horizon >= self.until:
            return {"time": horizon, **_none(TOO_LATE)}
        free = self.uncensored.before(self.outcomes.times)
        values = dynamic_auc(self.weights, self.outcomes, free, np.array([horizon]))[:, 0]
        return {"time": horizon, **figure(values, self.draws, NOBODY)}

    def brier(self, predicted: Predicted | None, grid: NDArray[np.float64]) -> dict[str, object]:
        """Brier scores over time and in one number.

        Args:
            predicted: The curves, if there are any.
            grid: Times; those that hardly anybody reaches are left out.

        Returns:
            `times`, `score` and `reference` (lists), the figures `integrated` and `reference_integrated`, and `skill`,
            1 minus their ratio: above 0 is better than the Kaplan-Meier curve.
        """
        times = grid[grid < self.until]
        why = NO_CURVE if predicted is None else None if times.size else f"{TOO_LATE}, at any time of the grid"
        if predicted is None or why is not None:
            empty = dict.fromkeys(("integrated", "reference_integrated", "skill"), _none(str(why)))
            return {"times": [], "score": [], "reference": [], **empty}
        found = brier(
            self.weights,
            self.outcomes,
            predicted(times),
            times,
            uncensored=self.uncensored,
            everyone=self.everyone,
        )
        score, reference = found.integrated()
        skill = np.divide(score, reference, out=np.full_like(score, np.nan), where=reference > 0)
        return {
            "times": times.tolist(),
            "score": found.score[0].tolist(),
            "reference": found.reference[0].tolist(),
            "integrated": figure(score, self.draws, NOBODY),
            "reference_integrated": figure(reference, self.draws, NOBODY),
            "skill": figure(1 - skill, self.draws, "the reference makes no error"),
        }

    def calibration(self, predicted: Predicted | None, horizon: float) -> dict[str, object]:
        """Predicted against observed risk.

        Args:
            predicted: The curves, if there are any.
            horizon: The time.

        Returns:
            As `calibration_at` says; with only `time` and a figure without value where it cannot be.
        """
        if predicted is None or horizon >= self.until:
            why = NO_CURVE if predicted is None else TOO_LATE
            return {"time": horizon, "observed_to_expected": _none(why), "groups": []}
        survival = predicted(np.array([horizon]))[:, 0]
        return calibration_at(self.weights, self.outcomes, survival, horizon, self.draws)


def _none(reason: str) -> dict[str, object]:
    return {"value": None, "interval": None, "reason": reason}
