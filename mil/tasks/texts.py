"""From columns of text to numbers, NaN where nothing stands; no message holds a text of the table."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mil.errors import ExperimentError, LabelError

Table = Mapping[str, Sequence[str]]
"""Column -> one text a case, "" where it is not known."""


def column_of(table: Table, column: str) -> Sequence[str]:
    """Find a column.

    Args:
        table: The table of labels.
        column: Its name.

    Returns:
        One text a case.

    Raises:
        LabelError: There is no such column.
    """
    if column not in table:
        near = difflib.get_close_matches(column, table, n=1)
        hint = f"; perhaps {near[0]} is meant" if near else ""
        raise LabelError(f"The table of labels has no column {column}{hint}.")
    return table[column]


def meanings(table: Table, column: str, groups: Sequence[Sequence[str]]) -> NDArray[np.float32]:
    """Read texts that belong to groups.

    Args:
        table: The table of labels.
        column: Which column.
        groups: Texts that mean 0, 1, 2 and so on.

    Returns:
        Number of the group, NaN where nothing stands [cases].

    Raises:
        LabelError: A text belongs to no group; names its row.
    """
    meaning = {"": math.nan} | {text: float(k) for k, group in enumerate(groups) for text in group}
    texts = column_of(table, column)
    for row, text in enumerate(texts):
        if text not in meaning:
            raise LabelError(
                f"Row {row + 1}: the text in column {column} is no label of this task; name it in [task], or leave "
                "such rows out by `where`."
            )
    return np.array([meaning[text] for text in texts], np.float32)


def numbers(table: Table, column: str, least: float = -math.inf) -> NDArray[np.float32]:
    """Read numbers.

    Args:
        table: The table of labels.
        column: Which column.
        least: What a number must be at least.

    Returns:
        The numbers, NaN where nothing stands [cases].

    Raises:
        LabelError: A text is no finite number, or the number is too small; names its row.
    """
    found = []
    for row, text in enumerate(column_of(table, column)):
        value = _number(text)
        if math.isinf(value) or value < least:
            raise LabelError(f"Row {row + 1}: column {column} holds no number that this task can use.")
        found.append(value)
    return np.array(found, np.float32)


def check_groups(groups: Sequence[Sequence[str]], least: int = 2) -> None:
    """See that groups of texts can be told apart.

    Args:
        groups: The texts of each class.
        least: How many classes there must be.

    Raises:
        ExperimentError: There are too few, one is empty, or a text stands in two or means that nothing is known.
    """
    texts = [text for group in groups for text in group]
    if len(groups) < least or not all(groups):
        raise ExperimentError(f"A task of this kind needs at least {least} classes, each with its texts.")
    if len(set(texts)) != len(texts) or "" in texts:
        raise ExperimentError("A text of a label stands twice, or is empty, which means that nothing is known.")


def _number(text: str) -> float:
    if not text:
        return math.nan
    try:
        value = float(text)
    except ValueError:
        return math.inf
    return math.inf if math.isnan(value) else value
