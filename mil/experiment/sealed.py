"""Which cases are sealed away: never trained on, never tuned on, opened once."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mil.cohort.cohort import Cohort
from mil.errors import ExperimentError

SEAL: Final = "seal.json"
"""Says in the folder of a run which cases were sealed when it was made."""


@dataclass(frozen=True)
class SealedSpec:
    """`[test]`: exactly one of centres, a column with values, or a share of the patients.

    Raises:
        ExperimentError: None or more than one is given, or the seed is negative.
    """

    centres: tuple[str, ...] = ()
    """All cases of these centres."""
    column: str = ""
    """A column of the table ..."""
    values: tuple[str, ...] = ()
    """... and its texts that mark a case of the test."""
    share: float = 0.0
    """So many of the patients, drawn by `seed`."""
    seed: int = 0

    def __post_init__(self) -> None:
        given = [bool(self.centres), bool(self.column and self.values), 0 < self.share < 1]
        if sum(given) != 1 or bool(self.column) != bool(self.values):
            raise ExperimentError('[test] needs one of "centres", "column" with "values", or a "share" below 1.')
        if self.seed < 0:
            raise ExperimentError('"seed" of [test] must be 0 or more.')


def sealed_cases(spec: SealedSpec, cohort: Cohort) -> NDArray[np.bool_]:
    """Mark the cases of the test.

    Args:
        spec: Which.
        cohort: All cases.

    Returns:
        bool [cases]; a patient with one sealed case is sealed whole.

    Raises:
        ExperimentError: No case is sealed, or all are.
    """
    patients = np.array([case.patient for case in cohort.cases])
    if spec.centres:
        chosen = np.isin([case.centre for case in cohort.cases], spec.centres)
    elif spec.column:
        chosen = np.isin(cohort.table[spec.column], spec.values)
    else:
        names = np.unique(patients)
        drawn = np.random.default_rng(spec.seed).permutation(names)[: round(spec.share * len(names))]
        chosen = np.isin(patients, drawn)
    sealed = np.isin(patients, patients[chosen])
    if sealed.all() or not sealed.any():
        raise ExperimentError(f"[test] seals {sealed.sum()} of {len(sealed)} cases.")
    return sealed


def seal_table(cohort: Cohort, sealed: NDArray[np.bool_]) -> dict[str, object]:
    """What a run keeps of its sealed cases: enough to know them again, and nothing of their labels.

    Args:
        cohort: All cases.
        sealed: Which of them are sealed [cases].

    Returns:
        `cases`, how many, and `digest` of their pseudonyms.
    """
    names = sorted(cohort.cases[row].id for row in np.flatnonzero(sealed))
    return {"cases": len(names), "digest": hashlib.sha256(json.dumps(names).encode()).hexdigest()}
