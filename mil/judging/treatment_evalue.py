"""How strong would unmeasured confounding have to be? The E-value (VanderWeele & Ding 2017, Ann Intern Med 167:268)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

COMMON: Final = 0.15
"""Share with the outcome above which a hazard ratio is no risk ratio (same paper, Table 2)."""


def e_value(ratio: float, interval: Sequence[float] | None) -> dict[str, float | None]:
    """Least risk ratio that a confounder needs with both treatment and outcome to explain the effect away.

    Args:
        ratio: Risk ratio, > 0.
        interval: Its confidence limits, if known.

    Returns:
        `estimate`, and `limit` for the confidence limit nearer to 1, which is 1 where the interval holds 1.
    """
    if interval is None:
        return {"estimate": _bound(ratio), "limit": None}
    low, high = interval
    limit = 1.0 if low <= 1 <= high else _bound(low if low > 1 else high)
    return {"estimate": _bound(ratio), "limit": limit}


def risk_ratio_of_hazards(ratio: float, share: float) -> float:
    """A hazard ratio as a risk ratio.

    Args:
        ratio: Hazard ratio, > 0.
        share: Of the cases that had the event by the end.

    Returns:
        The same number where the event is rare, else VanderWeele's approximation.
    """
    if share <= COMMON:
        return ratio
    return float((1 - 0.5 ** np.sqrt(ratio)) / (1 - 0.5 ** np.sqrt(1 / ratio)))


def _bound(ratio: float) -> float:
    away = max(ratio, 1 / ratio) if ratio > 0 else np.inf
    return float(away + np.sqrt(away * (away - 1)))
