"""The table of labels: CSV, UTF-8 with or without a byte order mark, read strictly.

Rows are counted from 1, below the header.
"""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mil.errors import CohortError

MAX_BYTES: Final = 256 << 20
MAX_COLUMNS: Final = 1000
MAX_CELL: Final = 1024
"""Characters of a cell; a longer one is text of a report and no label."""


@dataclass(frozen=True)
class LabelTable:
    """Texts, a row a slide."""

    columns: Mapping[str, tuple[str, ...]]
    """Column -> one text a row, without spaces around it, "" where not known."""

    def require(self, names: Iterable[str]) -> None:
        """See that columns are there.

        Args:
            names: Which.

        Raises:
            CohortError: Some are not; names them.
        """
        missing = [name for name in dict.fromkeys(names) if name not in self.columns]
        if missing:
            near = difflib.get_close_matches(missing[0], self.columns, n=1)
            hint = f"; perhaps {near[0]} is meant" if near else ""
            raise CohortError(f"The table of labels has no column {', '.join(missing)}{hint}.")


def read_labels(path: Path) -> LabelTable:
    """Read a table of labels.

    Args:
        path: A CSV file with a header.

    Returns:
        All its columns.

    Raises:
        CohortError: It is no UTF-8 or CSV, has no rows, or a row of it cannot be used; names the row.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        text = raw.decode("utf-8-sig")
        if len(raw) > MAX_BYTES:
            raise CohortError(f"The table of labels is larger than {MAX_BYTES >> 20} MB.")
        lines = list(csv.reader(io.StringIO(text.rstrip("\r\n"), newline=""), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CohortError("The table of labels cannot be read: it must be a CSV file in UTF-8.") from error
    if len(lines) < 2:
        raise CohortError("The table of labels has no row.")
    header = [name.strip() for name in lines[0]]
    _require_header(header)
    rows = [[cell.strip() for cell in line] for line in lines[1:]]
    for number, row in enumerate(rows, start=1):
        _require_row(row, number, len(header))
    return LabelTable(dict(zip(header, zip(*rows, strict=True), strict=True)))


def _require_header(header: Sequence[str]) -> None:
    """Refuse columns without a name, or two of one.

    Raises:
        CohortError: There are such; says which column, by its number from 1.
    """
    if len(header) > MAX_COLUMNS:
        raise CohortError(f"The table of labels has more than {MAX_COLUMNS} columns.")
    for number, name in enumerate(header, start=1):
        if not name or len(name) > MAX_CELL or not name.isprintable() or name in header[: number - 1]:
            raise CohortError(
                f"Column {number} of the table of labels has no name, none that can be printed, or an earlier one's."
            )


def _require_row(row: Sequence[str], number: int, columns: int) -> None:
    """Refuse a row that does not fit the header.

    Raises:
        CohortError: It has more or fewer cells, or one that is too long or not text.
    """
    if len(row) != columns:
        raise CohortError(f"Row {number} of the table of labels has {len(row)} cells; the header has {columns}.")
    if any("\0" in cell or len(cell) > MAX_CELL for cell in row):
        raise CohortError(f"Row {number} of the table of labels has a cell that is too long or holds a NUL.")
