"""How often sets and intervals held the truth, over all and in each class, with Wilson's interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mil.errors import CalibrationError
from mil.judging.decisions import wilson as of_hits
from mil.trust.parts import patient_rows, some_patients


def wilson(share: float, count: int) -> tuple[float, float]:
    """Interval of 95 % of a share; nothing is known of none.

    Args:
        share: The proportion seen, 0 to 1.
        count: Of how many.

    Returns:
        Lower and upper end; (0, 1) of none.

    >>> [round(end, 3) for end in wilson(0.9, 100)]
    [0.826, 0.945]
    """
    return of_hits(share * count, count) if count else (0.0, 1.0)


def coverage(sets: NDArray[np.bool_], truth: NDArray[np.int64], patients: Sequence[str]) -> dict[str, Any]:
    """Judge sets on cases that they were not fitted to.

    Args:
        sets: bool [N, K].
        truth: The true answer [N]; cases of -1 are left out.
        patients: One a case; a patient's cases share the weight of one.

    Returns:
        `patients`, `coverage`, `interval`, `size` (mean answers a set), `single` (share of sets of one answer),
        `right` (share of these that are right), `either` and `neither` (shares referred), `by_class` (the first three
        of each class); None where nothing is there to judge.

    Raises:
        CalibrationError: No answer is known.
    """
    rows = np.flatnonzero(truth >= 0)
    if not rows.size:
        raise CalibrationError("Coverage needs cases whose answer is known; there is none.")
    given, true = sets[rows], truth[rows]
    people = patient_rows(some_patients(patients, rows))
    hit, size = given[np.arange(len(rows)), true], given.sum(axis=1)
    weight = 1.0 / np.bincount(people)[people]

    def share(which: NDArray[np.bool_], among: NDArray[np.bool_]) -> float | None:
        return float(weight[which & among].sum() / weight[among].sum()) if among.any() else None

    def covered(among: NDArray[np.bool_]) -> dict[str, Any]:
        count, part = len(np.unique(people[among])), share(hit, among)
        return {"patients": count, "coverage": part, "interval": None if part is None else list(wilson(part, count))}

    everyone = np.ones(len(rows), np.bool_)
    return {
        **covered(everyone),
        "size": float((weight * size).sum() / weight.sum()),
        "single": share(size == 1, everyone),
        "right": share(hit, size == 1),
        "either": share(size > 1, everyone),
        "neither": share(size == 0, everyone),
        "by_class": [covered(true == answer) for answer in range(given.shape[1])],
    }


def interval_coverage(ends: NDArray[np.float64], truth: NDArray[np.float64], patients: Sequence[str]) -> dict[str, Any]:
    """Judge intervals on cases that they were not fitted to.

    Args:
        ends: Lower and upper end [N, 2].
        truth: The true value [N]; cases of NaN are left out.
        patients: One a case.

    Returns:
        `patients`, `coverage`, `interval` (Wilson's) and `width` (median; None where without end).

    Raises:
        CalibrationError: No value is known.
    """
    rows = np.flatnonzero(~np.isnan(truth))
    if not rows.size:
        raise CalibrationError("Coverage needs cases whose value is known; there is none.")
    people = patient_rows(some_patients(patients, rows))
    weight = 1.0 / np.bincount(people)[people]
    hit = (ends[rows, 0] <= truth[rows]) & (truth[rows] <= ends[rows, 1])
    part, count = float((weight * hit).sum() / weight.sum()), int(people.max()) + 1
    width = float(np.median(ends[rows, 1] - ends[rows, 0]))
    return {
        "patients": count,
        "coverage": part,
        "interval": list(wilson(part, count)),
        "width": width if np.isfinite(width) else None,
    }
