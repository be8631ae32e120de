"""Intervals: a statistic is computed for many weightings of the same cases at once.

The first weighting is all ones (the estimate), then come bootstrap draws of patients, then jackknife groups left out.
A statistic is a function from weights [W, n] to values [W]; weights that are whole numbers give exactly what repeating
the rows would give, so that a thousand resamples are a few matrix products.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

JACKKNIFE: Final = 200
"""Groups that are left out in turn, for the acceleration alone; each is one patient in cohorts up to this size."""
ENOUGH: Final = 0.9
"""Share of draws that must have a value."""
LEVEL: Final = 0.95


def weightings(patients: Sequence[str] | None, cases: int, draws: int, seed: int) -> NDArray[np.float64]:
    """Draw patients with replacement; all cases of a patient come or stay away together.

    Args:
        patients: Of each case [n]; each case a patient of its own if None.
        cases: Number n of cases.
        draws: Number of bootstrap draws.
        seed: Of the draws.

    Returns:
        [1 + draws + groups, n].
    """
    codes = np.arange(cases) if patients is None else np.unique(np.asarray(patients), return_inverse=True)[1]
    count = int(codes.max()) + 1
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(count, np.full(count, 1 / count), size=draws)[:, codes]
    groups = generator.permutation(count) % min(count, JACKKNIFE)
    left = groups[codes] != np.arange(groups.max() + 1)[:, None]
    return np.concatenate([np.ones((1, cases)), drawn, left]).astype(np.float64)


def figure(values: NDArray[np.float64], draws: int, reason: str) -> dict[str, Any]:
    """An estimate with its interval, bias-corrected and accelerated (BCa; Efron 1987, JASA 82:171).

    Args:
        values: The statistic of each of `weightings`; not finite where it does not exist.
        draws: How many of them are draws.
        reason: Why there would be no estimate, one plain clause.

    Returns:
        `value`, `interval` (95 %) and `reason`; None for what does not exist or need not be said.
    """
    value, drawn, left = values[0], values[1 : 1 + draws], values[1 + draws :]
    if not np.isfinite(value):
        return {"value": None, "interval": None, "reason": reason}
    good = drawn[np.isfinite(drawn)]
    if not good.size or good.size < ENOUGH * draws:
        return {"value": float(value), "interval": None, "reason": f"in too many resamples {reason}"}
    return {"value": float(value), "interval": _bca(float(value), good, left[np.isfinite(left)]), "reason": None}


def _bca(value: float, drawn: NDArray[np.float64], left: NDArray[np.float64]) -> list[float]:
    """Ends of the interval."""
    normal = NormalDist()
    below = (drawn < value).mean() + (drawn == value).mean() / 2
    bias = normal.inv_cdf(float(np.clip(below, 0.5 / drawn.size, 1 - 0.5 / drawn.size)))
    pull = left.mean() - left if left.size else np.zeros(1)
    spread = float((pull**2).sum()) ** 1.5
    acceleration = float((pull**3).sum()) / (6 * spread) if spread > 0 else 0.0
    shares = []
    for tail in (0.5 - LEVEL / 2, 0.5 + LEVEL / 2):
        moved = bias + normal.inv_cdf(tail)
        shares.append(normal.cdf(bias + moved / max(1 - acceleration * moved, 1e-9)))
    return [float(end) for end in np.quantile(drawn, shares)]
