"""Who was treated, what came of it, the score before treatment, and what else was known then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mil.errors import MetricError

Covariates = Mapping[str, ArrayLike | Sequence[str]]
"""Column -> numbers, or texts that name groups."""


@dataclass(frozen=True, eq=False)
class Treated:
    """Cases with a treatment that some had."""

    treated: NDArray[np.bool_]
    """[n]."""
    outcome: NDArray[np.bool_]
    """Whether it came [n]: the response, or the event of follow-up."""
    score: NDArray[np.float64]
    """Mean 0 and spread 1 [n]."""
    times: NDArray[np.float64] | None
    """Until the event or the last contact [n]; None where there is no follow-up."""
    names: tuple[str, ...]
    """Of the covariates: a group of a text column is `column=text`."""
    covariates: NDArray[np.float64]
    """[n, q], each of mean 0 and spread 1."""

    def __len__(self) -> int:
        return len(self.treated)


def read_treated(
    treated: ArrayLike, outcome: ArrayLike, score: ArrayLike, covariates: Covariates, times: ArrayLike | None
) -> Treated:
    """Check and standardise.

    Args:
        treated: 0 or 1 [n].
        outcome: 0 or 1 [n].
        score: Finite numbers [n].
        covariates: Each [n].
        times: >= 0 [n], or None.

    Returns:
        The cases.

    Raises:
        MetricError: Columns differ in length, a row has what it cannot have, or everybody or nobody was treated.
    """
    columns = {"treatment": treated, "outcome": outcome, "score": score} | ({} if times is None else {"time": times})
    known = {name: _numbers(name, column) for name, column in columns.items()}
    if len({len(column) for column in known.values()}) > 1:
        raise MetricError("Treatment, outcome and score must be as many as each other.")
    _only("treatment", ~np.isin(known["treatment"], (0, 1)), "neither 0 nor 1")
    _only("outcome", ~np.isin(known["outcome"], (0, 1)), "neither 0 nor 1")
    if times is not None:
        _only("time", known["time"] < 0, "below zero")
    if not 0 < known["treatment"].sum() < len(known["treatment"]):
        raise MetricError("Some must have been treated and some not.")
    names, table = _design(covariates, len(known["treatment"]))
    yes, came = known["treatment"] == 1, known["outcome"] == 1
    return Treated(yes, came, _standard(known["score"]), known.get("time"), names, table)


def _design(covariates: Covariates, count: int) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Numbers as they are, texts as one column a group but the commonest; columns that never vary are left out.

    Raises:
        MetricError: A column has another length.
    """
    found: dict[str, NDArray[np.float64]] = {}
    for name, column in covariates.items():
        values = np.asarray(column)
        if values.shape != (count,):
            raise MetricError(f"Column {name} does not have one value a case.")
        if values.dtype.kind in "US":
            groups, sizes = np.unique(values, return_counts=True)
            others = groups[np.arange(len(groups)) != sizes.argmax()]
            found |= {f"{name}={group}": (values == group).astype(np.float64) for group in others}
        else:
            found[name] = _numbers(name, values)
    kept = {name: _standard(column) for name, column in found.items() if np.ptp(column) > 0}
    return tuple(kept), np.column_stack(list(kept.values())) if kept else np.zeros((count, 0))


def _numbers(name: str, column: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(column, np.float64)
    _only(name, ~np.isfinite(values), "no number")
    return values


def _only(name: str, wrong: NDArray[np.bool_], what: str) -> None:
    """Refuse rows.

    Raises:
        MetricError: There are any; names the first.
    """
    if wrong.any():
        raise MetricError(f"Row {int(wrong.argmax()) + 1}: the value in column {name} is {what}.")


def _standard(column: NDArray[np.float64]) -> NDArray[np.float64]:
    spread = float(column.std())
    return np.asarray((column - column.mean()) / (spread if spread > 0 else 1.0), np.float64)
