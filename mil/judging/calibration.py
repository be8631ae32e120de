"""Whether probabilities mean what they say: expected calibration error, Brier score, slope and intercept."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from mil.errors import CalibrationError
from mil.judging.figure import Json, figure

BINS = 15
"""Bins of equal numbers of cases; fewer where a bin would hold less than `LEAST`."""
LEAST = 5


@dataclass(frozen=True, eq=False)
class Reliability:
    """Cases in bins of equal size by what was said."""

    said: NDArray[np.float64]
    """Mean probability of each bin [b]."""
    seen: NDArray[np.float64]
    """Share of positives of each bin [b]."""
    n: NDArray[np.int64]
    """Cases of each bin [b]."""

    @property
    def ece(self) -> float:
        """Expected calibration error: mean distance, weighted by cases (Naeini et al. 2015)."""
        return float(np.abs(self.said - self.seen) @ self.n / self.n.sum())

    @property
    def worst(self) -> float:
        """Maximum calibration error."""
        return float(np.abs(self.said - self.seen).max())


def reliability(truth: NDArray[np.float64], probability: NDArray[np.float64], bins: int = BINS) -> Reliability:
    """Put cases into bins of equal size; equal probabilities are never parted.

    Args:
        truth: 0 or 1 [N].
        probability: Of 1 [N].
        bins: At most so many.

    Returns:
        The bins.

    Raises:
        CalibrationError: There is no case.
    """
    if not truth.size:
        raise CalibrationError("There is no case to judge a calibration on.")
    count = max(1, min(bins, truth.size // LEAST))
    edges = np.unique(np.quantile(probability, np.arange(1, count) / count))
    place = np.searchsorted(edges, probability, side="left")
    n = np.bincount(place)
    kept = n > 0
    sums = [np.bincount(place, values)[kept] / n[kept] for values in (probability, truth)]
    return Reliability(sums[0], sums[1], n[kept])


def brier(truth: NDArray[np.float64], probability: NDArray[np.float64]) -> dict[str, float]:
    """Brier score and its parts over the bins of `reliability` (Murphy 1973; Stephenson et al. 2008).

    Args:
        truth: 0 or 1 [N].
        probability: Of 1 [N].

    Returns:
        `score` = `reliability` - `resolution` + `uncertainty` + `within`, the last from what differs inside a bin;
        lower is better, but for the resolution. `skill` is one minus the score over the uncertainty: 0 for who says
        the prevalence to everybody.
    """
    bins, base = reliability(truth, probability), float(truth.mean())
    score, uncertainty = float(((probability - truth) ** 2).mean()), base * (1 - base)
    off = float(bins.n @ (bins.said - bins.seen) ** 2 / truth.size)
    resolved = float(bins.n @ (bins.seen - base) ** 2 / truth.size)
    return {
        "score": score,
        "reliability": off,
        "resolution": resolved,
        "uncertainty": uncertainty,
        "within": score - (off - resolved + uncertainty),
        "skill": 1 - score / uncertainty if uncertainty > 0 else math.nan,
    }


def slope(truth: NDArray[np.float64], probability: NDArray[np.float64], cluster: NDArray[np.int64]) -> dict[str, Json]:
    """Calibration slope and intercept: logistic regression of the truth on the log odds that were said (Cox 1958).

    Args:
        truth: 0 or 1 [N].
        probability: Of 1 [N].
        cluster: Number of the patient of each case [N].

    Returns:
        `slope` (1 is right, less is too sure of itself), `intercept` at slope 1 (0 is right, less is too high on the
        whole); 95 % intervals from a sandwich variance summed by patient.
    """
    odds = np.log(np.clip(probability, 1e-9, 1 - 1e-9) / np.clip(1 - probability, 1e-9, 1))
    flat = np.ptp(odds) <= 1e-9 or np.unique(truth).size < 2
    alone = _newton(truth, np.ones((truth.size, 1)), odds, cluster)
    both = (math.nan,) * 3 if flat else _newton(truth, np.stack([odds, np.ones(truth.size)], 1), 0 * odds, cluster)
    return {"slope": figure(*both), "intercept": figure(*alone)}


def _newton(
    truth: NDArray[np.float64], design: NDArray[np.float64], offset: NDArray[np.float64], cluster: NDArray[np.int64]
) -> tuple[float, float, float]:
    """First coefficient with its interval; NaN where the likelihood has no maximum."""
    beta = np.zeros(design.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(design @ beta + offset, -30, 30)))
        hessian = (design * (p * (1 - p))[:, None]).T @ design
        if np.linalg.cond(hessian) > 1e12 or np.abs(beta).max() > 50:
            return math.nan, math.nan, math.nan
        step = np.linalg.solve(hessian, design.T @ (truth - p))
        beta += np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-10:
            break
    if np.abs(truth - p).max() < 1e-3:  # the classes are apart: the slope grows without end
        return math.nan, math.nan, math.nan
    pulls = np.zeros((int(cluster.max()) + 1, beta.size))
    np.add.at(pulls, cluster, design * (truth - p)[:, None])
    bread = np.linalg.inv(hessian)
    error = math.sqrt(max(0.0, float((bread @ (pulls.T @ pulls) @ bread)[0, 0])))
    reach = NormalDist().inv_cdf(0.975) * error
    return float(beta[0]), float(beta[0]) - reach, float(beta[0]) + reach
