"""Cohorts of elsewhere: any bags and labels in the layout of the run's own, with no patient of training among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mil.cohort.cohort import Case, Cohort
from mil.cohort.read import read_cohort
from mil.cohort.spec import CohortSpec
from mil.errors import BagError, CohortError, LabelError
from mil.experiment.folder import RunFolder


@dataclass(frozen=True)
class Elsewhere:
    """Where the cases are, and what their columns are called."""

    bags: Path
    labels: Path | None = None
    """None for the labels in the file of bags itself."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """A column as the run calls it -> as this table calls it, where they differ."""
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Column of this table -> texts; only such rows. The run's own conditions are not asked for."""


def read_elsewhere(run: RunFolder, place: Elsewhere, columns: Sequence[str] = ()) -> Cohort:
    """Read an external cohort.

    Args:
        run: The run that will be judged.
        place: Where the cases are.
        columns: Of the table, beside those of the task, as this table calls them.

    Returns:
        Cases with a label; the columns of the task by the names of the run.

    Raises:
        CohortError: A renamed column is none of the run's.
        LabelError: No case has a label.
    """
    data, theirs = run.experiment.data, place.columns
    own = (*run.task.columns, data.slide, data.patient, data.centre)
    if strange := sorted(set(theirs) - set(own)):
        raise CohortError(f"The run reads no column {strange[0]}; it reads {', '.join(filter(None, own))}.")
    slide, patient, centre = (theirs.get(name, name) for name in (data.slide, data.patient, data.centre))
    spec = CohortSpec(slide, patient, centre, place.where, data.unit, data.zooms)
    wanted = [theirs.get(name, name) for name in run.task.columns]
    cohort = read_cohort(place.bags, place.labels, spec, [*wanted, *columns])
    _check_source(run, cohort)
    renamed = {name: cohort.table[theirs.get(name, name)] for name in run.task.columns}
    cohort = replace(cohort, table={**{name: cohort.table[name] for name in columns}, **renamed})
    kept = cohort.subset(np.flatnonzero(_known(run, cohort)))
    if not len(kept):
        raise LabelError(f"No case has a label in column {', '.join(wanted)}.")
    _check_patients(run, kept)
    return kept


def _check_source(run: RunFolder, cohort: Cohort) -> None:
    """See that the bags are of the kind that the run knows.

    Raises:
        BagError: They are of another encoder, other zooms or another width.
    """
    data, source = run.record["data"], cohort.source
    if source.width != data["width"]:
        raise BagError(f"The bags have {source.width} numbers a tile; the run was trained on {data['width']}.")
    if source.encoder != data["encoder"] or list(source.mpp) != list(data["mpp"]):
        raise BagError("The bags were made by another encoder or at other zooms than the run was trained on.")


def _known(run: RunFolder, cohort: Cohort) -> NDArray[np.bool_]:
    targets = run.task.targets(cohort.laid_out(run.task.columns))[cohort.rows]
    return np.asarray(run.task.known(torch.from_numpy(targets)).numpy())


def _check_patients(run: RunFolder, cohort: Cohort) -> None:
    """See that nobody was trained on.

    Raises:
        CohortError: Somebody was; names the row.
    """
    if (case := learnt_case(run, cohort)) is not None:
        raise CohortError(
            f"Row {case.row} of the table of labels is of a patient of training, so this cohort is not external; "
            "take other rows with --where."
        )


def learnt_case(run: RunFolder, cohort: Cohort) -> Case | None:
    """The first case whose patient a run was trained on.

    Args:
        run: Which.
        cohort: Of elsewhere; labels are not looked at.

    Returns:
        The case; None where there is none.
    """
    trained = set(run.out_of_fold().patients)
    return next((case for case in cohort.cases if case.patient in trained), None)
