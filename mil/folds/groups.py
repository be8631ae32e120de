"""What stays whole: the cases of a patient, and of a centre where asked, tied together through shared patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mil.errors import FoldError


@dataclass(frozen=True, eq=False)
class Groups:
    """Groups of cases, in an order that depends on the patients' names and not on that of the rows."""

    of: NDArray[np.int64]
    """Group of each case [cases]."""
    counts: NDArray[np.int64]
    """Cases of each group in each stratum [groups, strata]."""
    strata: NDArray[np.int64]
    """Which stratum each column counts [strata]; -1 is not known."""
    word: str
    """What a group is, for messages."""

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def required(self) -> NDArray[np.bool_]:
        """Which strata each fold must have [strata]."""
        return self.strata >= 0


def group(patients: Sequence[str], centres: Sequence[str] | None, strata: NDArray[np.int64]) -> Groups:
    """Find what stays together.

    Args:
        patients: One a case.
        centres: One a case; None where centres may be split. A patient who was seen in two ties both together.
        strata: Class of each case [cases], -1 where not known.

    Returns:
        The groups.

    Raises:
        FoldError: There is no case, or one has no centre.
    """
    if not len(patients) or len(patients) != len(strata):
        raise FoldError(f"There are {len(patients)} patients and {len(strata)} classes; each case needs both.")
    names = list(patients)
    if centres is not None:
        unknown = [row for row, centre in enumerate(centres, start=1) if not centre]
        if unknown:
            raise FoldError(
                f"Case {unknown[0]} has no centre ({len(unknown)} in all), so centres cannot be kept whole."
            )
        names = _tied(patients, centres)
    _, of = np.unique(np.array(names, dtype=object), return_inverse=True)
    known, column = np.unique(strata, return_inverse=True)
    counts = np.zeros((int(of.max()) + 1, len(known)), np.int64)
    np.add.at(counts, (of, column), 1)
    return Groups(of.astype(np.int64), counts, known.astype(np.int64), "patients" if centres is None else "centres")


def _tied(patients: Sequence[str], centres: Sequence[str]) -> list[str]:
    """For each case the first name of all patients that it is tied to: union-find over patients and centres."""
    parent: dict[tuple[str, str], tuple[str, str]] = {}

    def root(node: tuple[str, str]) -> tuple[str, str]:
        while parent.setdefault(node, node) != node:
            parent[node] = node = parent[parent[node]]
        return node

    for patient, centre in zip(patients, centres, strict=True):
        parent[root(("patient", patient))] = root(("centre", centre))
    first: dict[tuple[str, str], str] = {}
    for patient in sorted(set(patients)):
        first.setdefault(root(("patient", patient)), patient)
    return [first[root(("patient", patient))] for patient in patients]
