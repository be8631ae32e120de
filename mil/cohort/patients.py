"""Patients as cases: the tiles of all slides of a patient are one bag."""

from __future__ import annotations

from collections.abc import Sequence

from mil.cohort.cohort import Case, Cohort
from mil.errors import CohortError


def by_patient(cohort: Cohort) -> Cohort:
    """Unite the slides of each patient, in the table's order.

    Args:
        cohort: Its cases are slides.

    Returns:
        Its cases are patients, in the order of their first slides. A column that only some slides know holds for all.
    """
    groups: dict[str, list[int]] = {}
    for index, case in enumerate(cohort.cases):
        groups.setdefault(case.patient, []).append(index)
    rows = [case.row for case in cohort.cases]
    centres = _agreed(list(groups.values()), [case.centre for case in cohort.cases], rows, "the centre")
    cases = tuple(
        Case(patient, patient, centre, tuple(s for i in members for s in cohort.cases[i].slides), rows[members[0]])
        for (patient, members), centre in zip(groups.items(), centres, strict=True)
    )
    table = {
        name: _agreed(list(groups.values()), column, rows, f"column {name}") for name, column in cohort.table.items()
    }
    return Cohort(cohort.source, cases, table, cohort.joined)


def _agreed(groups: Sequence[Sequence[int]], texts: Sequence[str], rows: Sequence[int], what: str) -> tuple[str, ...]:
    """The text on which the slides of each patient agree; "" where no slide knows.

    Raises:
        CohortError: Two do not agree; names their rows.
    """
    agreed = []
    for members in groups:
        known = [index for index in members if texts[index]]
        for index in known:
            if texts[index] != texts[known[0]]:
                raise CohortError(
                    f"Rows {rows[known[0]]} and {rows[index]} of the table are of one patient and differ in {what}; "
                    "correct them, or score slides."
                )
        agreed.append(texts[known[0]] if known else "")
    return tuple(agreed)
