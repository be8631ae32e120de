"""A figure as it stands in a report: a value with its interval, or null and the reason why there is none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mil.judging.bootstrap import Estimate

Json = dict[str, Any]


def number(value: float | np.floating | np.integer) -> float | None:
    """A number as strict JSON has it.

    Args:
        value: Any number.

    Returns:
        It, or None where it is not finite.

    >>> number(float("nan")), number(0.5)
    (None, 0.5)
    """
    return float(value) if math.isfinite(value) else None


def figure(value: float, low: float = math.nan, high: float = math.nan, reason: str = "") -> Json:
    """A figure of merit.

    Args:
        value: The figure; NaN where it cannot be had.
        low: Lower end of its interval; NaN where there is none.
        high: Upper end.
        reason: Why the value or the interval is missing; one is found where this is "".

    Returns:
        Keys `value`, `interval` (both ends) and `reason`; null for what is not there.

    >>> figure(0.5, 0.4, 0.6)
    {'value': 0.5, 'interval': [0.4, 0.6], 'reason': None}
    """
    known = math.isfinite(low) and math.isfinite(high)
    why = reason or (not math.isfinite(value) and "not defined for these cases")
    why = why or (not known and "too few or too equal cases for an interval")
    return {"value": number(value), "interval": [float(low), float(high)] if known else None, "reason": why or None}


def figures(names: Sequence[str], estimate: Estimate) -> dict[str, Json]:
    """Several figures with their intervals.

    Args:
        names: F names.
        estimate: Of F figures.

    Returns:
        Name -> figure.
    """
    rows = zip(names, estimate.value, *estimate.ends, strict=True)
    return {name: figure(float(value), float(low), float(high)) for name, value, low, high in rows}


def clean(document: object) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Make a document strict JSON: plain numbers, lists and text, null for what is not finite.

    Args:
        document: Mappings, sequences, arrays and numbers.

    Returns:
        The same in the types of JSON.
    """
    if isinstance(document, Mapping):
        return {str(key): clean(value) for key, value in document.items()}
    if isinstance(document, np.ndarray):
        return clean(document.tolist())
    if isinstance(document, Sequence) and not isinstance(document, str):
        return [clean(value) for value in document]
    if isinstance(document, np.generic):
        return clean(document.item())
    return number(document) if isinstance(document, float) else document
