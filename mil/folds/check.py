"""Folds that somebody gives: read from a column, and refused where a patient is on both sides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mil.errors import FoldError


def read_folds(texts: Sequence[str], rows: Sequence[int] | None = None) -> NDArray[np.int64]:
    """Number the folds of a column of the table.

    Args:
        texts: One a case.
        rows: Row of each case for messages; counted from 1 if None.

    Returns:
        int64 [cases]: folds from 0, in the order of their texts (of their numbers, where all are whole numbers).

    Raises:
        FoldError: A case has none, or there is only one fold.
    """
    for index, text in enumerate(texts):
        if not text:
            raise FoldError(f"Row {index + 1 if rows is None else rows[index]} is in no fold.")
    names = set(texts)
    whole = all(name.isascii() and name.isdigit() and len(name) < 10 for name in names)
    order = {name: fold for fold, name in enumerate(sorted(names, key=lambda name: (int(name) if whole else 0, name)))}
    if len(order) < 2:
        raise FoldError("All rows are in one fold; at least two are needed.")
    return np.array([order[text] for text in texts], np.int64)


def check_folds(folds: NDArray[np.int64], patients: Sequence[str], rows: Sequence[int] | None = None) -> None:
    """See that no patient is in two folds.

    Args:
        folds: Fold of each case, [cases] or [repeats, cases].
        patients: One a case.
        rows: Row of each case for messages; counted from 1 if None.

    Raises:
        FoldError: One is; names the rows.
    """
    for repeat in np.atleast_2d(folds):
        if len(repeat) != len(patients):
            raise FoldError(f"There are folds for {len(repeat)} cases and {len(patients)} cases.")
        first: dict[str, int] = {}
        for index, (fold, patient) in enumerate(zip(repeat, patients, strict=True)):
            other = first.setdefault(patient, index)
            if repeat[other] != fold:
                named = [number + 1 if rows is None else rows[number] for number in (other, index)]
                raise FoldError(f"Rows {named[0]} and {named[1]} are of one patient and in two folds.")
