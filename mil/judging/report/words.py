"""Figures as people read them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

FIGURE: Final = {"value", "interval", "reason"}
NAMES: Final = {
    "auroc": "AUROC",
    "auc": "AUC",
    "auprc": "AUPRC",
    "macro_auroc": "macro AUROC",
    "brier": "Brier score",
    "youden": "Youden",
    "mcc": "MCC",
    "f1": "F1",
    "macro_f1": "macro F1",
    "ppv": "PPV",
    "npv": "NPV",
    "r2": "R²",
    "mae": "mean absolute error",
    "harrell_c": "Harrell's C",
    "uno_c": "Uno's C",
    "ece": "expected calibration error",
    "max_ce": "largest calibration error",
}
PER_CENT: Final = ("specificity_9", "sensitivity_9")


def words(name: str) -> str:
    """A key as a name.

    Args:
        name: A key of a document.

    Returns:
        Words.

    >>> words("sensitivity_at_specificity_90"), words("auroc: b")
    ('sensitivity at specificity 90 %', 'AUROC: b')
    """
    first, colon, rest = name.partition(":")
    known = NAMES.get(first, first.replace("_", " "))
    return known + colon + rest + (" %" if any(part in name for part in PER_CENT) else "")


def number(value: object) -> str:
    """A number: three digits after the point, fewer where it is large, none if it is whole; a dash where there is none.

    Args:
        value: A number or None.

    Returns:
        The text.

    >>> number(0.12345), number(-1234.5), number(None), number(0.00001), number(70)
    ('0.123', '−1,234', '–', '1e-05', '70')
    """
    if not isinstance(value, int | float):
        return "–"
    if isinstance(value, int):
        return f"{value:,}".replace("-", "−")
    if value and abs(value) < 0.0005:
        return f"{value:.2g}".replace("-", "−", 1) if value < 0 else f"{value:.2g}"
    digits = 3 if abs(value) < 100 else 0
    return f"{value:,.{digits}f}".replace("-", "−")


def interval(figure: Mapping[str, Any]) -> str:
    """A figure with its interval.

    Args:
        figure: `value`, `interval` and `reason`.

    Returns:
        The text; the reason where there is no value.

    >>> interval({"value": 0.5, "interval": [0.4, 0.6], "reason": None})
    '0.500 (0.400 to 0.600)'
    """
    if figure["value"] is None:
        return f"– ({figure['reason']})"
    ends = figure["interval"]
    return number(figure["value"]) + (f" ({number(ends[0])} to {number(ends[1])})" if ends else "")


def rows(document: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """All figures of a document, however deep.

    Args:
        document: Of mappings and lists.
        path: Where it stands in a larger one.

    Yields:
        Name and figure; a list is told apart by `time` or `name`, or by its number.
    """
    if isinstance(document, Mapping):
        if set(document) >= FIGURE:
            yield ", ".join(path), document
            return
        for key, value in document.items():
            yield from rows(value, (*path, words(str(key))))
    elif isinstance(document, list):
        for place, value in enumerate(document, 1):
            name = value.get("time", value.get("name", place)) if isinstance(value, Mapping) else place
            yield from rows(value, (*path, f"{name:.0f}" if isinstance(name, float) else str(name)))
