"""Cases in a few parts, patients whole, so that what is fitted on some is judged on the others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mil.errors import CalibrationError

PARTS = 5


def patient_rows(patients: Sequence[str]) -> NDArray[np.int64]:
    """Number the patients.

    Args:
        patients: One a case.

    Returns:
        int64 [N], from 0.
    """
    return np.unique(np.asarray(patients, dtype=str), return_inverse=True)[1].astype(np.int64)


def some_patients(patients: Sequence[str], rows: NDArray[np.intp]) -> list[str]:
    """Patients of some of the cases.

    Args:
        patients: One a case.
        rows: Which cases.

    Returns:
        In the order of the rows.
    """
    return [patients[row] for row in rows.tolist()]


def parts_of(patients: Sequence[str], truth: NDArray[np.int64], seed: int = 0) -> NDArray[np.int64]:
    """Deal patients out over up to five parts, each class evenly.

    A patient with cases of several classes counts for the rarest of them.

    Args:
        patients: One a case [N].
        truth: Class of each case int64 [N].
        seed: Of the shuffle.

    Returns:
        int64 [N]: the part of each case. With fewer than two patients of some class all are 0: nothing can be held
        out.

    Raises:
        CalibrationError: There are not as many patients as classes.
    """
    if len(patients) != len(truth):
        raise CalibrationError(f"{len(truth)} cases need as many patients; {len(patients)} were given.")
    rows = patient_rows(patients)
    kinds, counts = np.unique(truth, return_counts=True)
    own = np.full(rows.max(initial=-1) + 1, -1, np.int64)
    for kind in kinds[np.argsort(-counts)]:  # the rarest last, so that it wins
        own[rows[truth == kind]] = kind
    smallest = min((int((own == kind).sum()) for kind in kinds), default=0)
    count = min(PARTS, smallest)
    if count < 2:
        return np.zeros(len(rows), np.int64)
    order = np.random.default_rng(seed).permutation(len(own))
    order = order[np.argsort(own[order], kind="stable")]
    part = np.empty(len(own), np.int64)
    part[order] = np.arange(len(own)) % count
    return part[rows]
