"""The cases of training again, with their bags and the columns of their table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mil.cohort.cohort import Cohort
from mil.errors import CohortError
from mil.experiment.folder import RunFolder
from mil.judging.predicted import Predicted

CENTRE: Final = "centre"


def own_cohort(run: RunFolder, said: Predicted, columns: Sequence[str]) -> Cohort | None:
    """Read the cases of training.

    Args:
        run: The run.
        said: What it said out of fold.
        columns: Of the table, beside those of the task.

    Returns:
        The cases in the order of the predictions; None where the bags are gone and no column is asked for.

    Raises:
        CohortError: Bags or labels have changed since.
    """
    try:
        cohort = run.experiment.development(run.experiment.cohort(columns))
    except CohortError:
        if columns:
            raise
        return None
    place = {case.id: row for row, case in enumerate(cohort.cases)}
    if set(said.ids) - set(place):
        raise CohortError("The bags or labels of the run have changed since it was trained.")
    return cohort.subset([place[name] for name in said.ids])


def groups(run: RunFolder, cohort: Cohort | None, columns: Sequence[str]) -> dict[str, Sequence[str]]:
    """By what figures are grouped.

    Args:
        run: The run.
        cohort: The judged cases; None where there are no more than the predictions.
        columns: Asked for.

    Returns:
        Column -> text of each case: the centre where it is known, and the columns.
    """
    places = run.out_of_fold().centres if cohort is None else [case.centre for case in cohort.cases]
    found: dict[str, Sequence[str]] = {CENTRE: places} if any(places) else {}
    return found | {name: cohort.table[name] for name in columns if cohort is not None and name not in found}
