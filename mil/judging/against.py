"""Two runs of the same task, on the cases that both judged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mil.cohort.cohort import Cohort
from mil.errors import CohortError, MetricError
from mil.experiment.folder import RunFolder
from mil.judging.cases import Asked
from mil.judging.compare import compare
from mil.judging.elsewhere import learnt_case
from mil.judging.figure import Json
from mil.judging.predicted import Predicted, elsewhere, out_of_fold


def check_alike(run: RunFolder, other: RunFolder) -> None:
    """See that two runs can be compared, before anything is judged or opened.

    Args:
        run: One.
        other: The other.

    Raises:
        MetricError: They do not learn the same thing.
    """
    if (other.task.columns, other.task.kind) != (run.task.columns, run.task.kind):
        raise MetricError("The other run learns something else, so the two cannot be compared.")


def check_unseen(other: RunFolder, cohort: Cohort) -> None:
    """See that the other run has not learnt from anybody in a cohort, before anything is judged or opened.

    Args:
        other: The other run.
        cohort: Of elsewhere, or the sealed cases; labels are not looked at.

    Raises:
        CohortError: It has, and would be judged by heart; names the row.
    """
    if (case := learnt_case(other, cohort)) is not None:
        raise CohortError(
            f"Row {case.row} of the table of labels is of a patient that the other run was trained on, so the two "
            "cannot be compared on these cases."
        )


def against(run: RunFolder, other: RunFolder, said: Predicted, cohort: Cohort | None, asked: Asked) -> Json:
    """Compare the heads of two runs.

    Args:
        run: One.
        other: The other, whose figures are subtracted.
        said: What the one said.
        cohort: Of elsewhere; None for out-of-fold cases.
        asked: How.

    Returns:
        `name` and `head` of the other, `n` cases that both judged, and `questions` as `compare` has them.

    Raises:
        MetricError: They share no case.
    """
    if cohort is not None:
        check_unseen(other, cohort)
    theirs = out_of_fold(other) if cohort is None else elsewhere(other, cohort)
    place = {name: row for row, name in enumerate(theirs.ids)}
    rows = np.array([row for row, name in enumerate(said.ids) if name in place], np.int64)
    if not rows.size:
        raise MetricError("The two runs share no case, so they cannot be compared.")
    second = theirs.head.take(np.array([place[said.ids[row]] for row in rows], np.int64))
    first = replace(said.head.take(rows), groups={})
    found = compare(run.task, first, second, asked)
    return {"name": other.record["name"], "head": other.record["head"]["name"], "n": int(rows.size), "questions": found}
