"""Bags and labels joined into cases.

Names of cases are the pseudonyms of the table as given: whoever writes real names into it will find them in every
output. Cases stand in the order of the table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mil.cohort.bags_file import BagsFile
from mil.cohort.cohort import Case, Cohort, Joined
from mil.cohort.labels import LabelTable, read_labels
from mil.cohort.patients import by_patient
from mil.cohort.source import BagSource
from mil.cohort.spec import CENTRE, CohortSpec
from mil.cohort.stores import StoreBags
from mil.errors import CohortError

OWN_LABEL = "label"
"""Column of the labels that stand in the file of bags itself."""


def open_bags(path: Path, zooms: Sequence[float] = ()) -> BagSource:
    """Open bags.

    Args:
        path: A file of bags (`.npz`), a folder of embeddings stores, or a `zooms.toml` that names several of them.
        zooms: Of stores, which to join; um/px.

    Returns:
        The bags, read one at a time.

    Raises:
        CohortError: There is nothing at this place.
    """
    if not path.exists():
        raise CohortError("The bags are not there: an experiment's path counts from its own folder, or from its root.")
    if path.suffix == ".toml":
        from mil.zoom.source import read_zooms

        return read_zooms(path, open_bags)
    return StoreBags(path, zooms) if path.is_dir() else BagsFile(path)


def read_cohort(bags: Path, labels: Path | None, spec: CohortSpec, columns: Sequence[str]) -> Cohort:
    """Read bags and labels.

    Args:
        bags: A file of bags (`.npz`), or a folder of embeddings stores.
        labels: A CSV file; None for the labels in the file of bags itself: one column `label`, each slide a patient.
        spec: Which columns say what.
        columns: Columns that the cases shall carry, such as those of a task.

    Returns:
        The cases; what did not find its counterpart is counted in `joined`.
    """
    source = open_bags(bags, spec.zooms)
    return join(source, _own_labels(source, spec) if labels is None else read_labels(labels), spec, columns)


def join(source: BagSource, table: LabelTable, spec: CohortSpec, columns: Sequence[str]) -> Cohort:
    """Join bags and labels.

    Args:
        source: The bags.
        table: The labels.
        spec: Which columns say what.
        columns: Columns that the cases shall carry.

    Returns:
        The cases.

    Raises:
        CohortError: A column is missing, two rows are of one slide, a row lacks its patient, or nothing is left.
    """
    table.require([spec.slide, spec.patient, *spec.where, *columns])
    centres = _centres(table, spec)
    slides = {name: row for row, name in enumerate(source.ids)}
    named = _rows_of_slides(table.columns[spec.slide])
    with_bag = [row for name, row in named.items() if name in slides]
    rows = [row for row in with_bag if all(table.columns[name][row] in texts for name, texts in spec.where.items())]
    if not rows:
        raise CohortError(f"No case is left: {len(with_bag)} of {len(source.ids)} bags have a row in the table.")
    names, patients = table.columns[spec.slide], table.columns[spec.patient]
    for row in rows:
        if not patients[row]:
            raise CohortError(f"Row {row + 1} of the table of labels names no patient.")
    cases = tuple(Case(names[row], patients[row], centres[row], (slides[names[row]],), row + 1) for row in rows)
    kept = {name: tuple(table.columns[name][row] for row in rows) for name in dict.fromkeys(columns)}
    joined = Joined(len(source.ids) - len(with_bag), len(named) - len(with_bag), len(with_bag) - len(rows))
    cohort = Cohort(source, cases, kept, joined)
    return by_patient(cohort) if spec.unit == "patient" else cohort


def _centres(table: LabelTable, spec: CohortSpec) -> Sequence[str]:
    if spec.centre == CENTRE and CENTRE not in table.columns:
        return [""] * len(table.columns[spec.slide])
    table.require([spec.centre])
    return table.columns[spec.centre]


def _rows_of_slides(names: Sequence[str]) -> Mapping[str, int]:
    """Row of each slide, from 0, in their order.

    Raises:
        CohortError: A row names no slide, or that of an earlier row.
    """
    found: dict[str, int] = {}
    for row, name in enumerate(names):
        if not name:
            raise CohortError(f"Row {row + 1} of the table of labels names no slide.")
        if found.setdefault(name, row) != row:
            raise CohortError(f"Rows {found[name] + 1} and {row + 1} of the table of labels are of the same slide.")
    return found


def _own_labels(source: BagSource, spec: CohortSpec) -> LabelTable:
    """The labels in a file of bags, as a table.

    Raises:
        CohortError: It has none.
    """
    labels = source.labels if isinstance(source, BagsFile) else None
    if labels is None:
        raise CohortError("The bags carry no labels of their own; give a table of labels.")
    return LabelTable({spec.slide: source.ids, spec.patient: source.ids, OWN_LABEL: labels})
