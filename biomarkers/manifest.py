"""The cohort manifest: a strict CSV table of slides.

Columns: `slide` (required), `path`, `patient`, `mpp0`; all others are for searches to choose by (`read_columns`). With
a `path` column, `slide` is the researcher's pseudonym and is echoed in outputs. Without one, `slide` is the address,
and outputs name the slide by a pseudonym made from its content: file names often hold patient data, so they never
reach an output.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from biomarkers.errors import ManifestError
from slides import Address, BadMppError, Mpp

PSEUDONYM: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Safe as a folder name and as a spreadsheet cell."""
READ: Final = ("slide", "path", "mpp0")
"""Columns that say which slide it is."""
PSEUDONYM_WORDS: Final = 'letters, digits, ".", "_" and "-", at most 64'


@dataclass(frozen=True)
class Row:
    """One slide of a cohort."""

    number: int
    """1 for the first row under the header."""
    address: Address
    id: str | None
    """The researcher's pseudonym, or None where outputs use one made from the content."""
    patient: str
    """The researcher's pseudonym of the patient; empty where none is given."""

    @property
    def fallback(self) -> str:
        """What outputs call the slide while its content is not known."""
        return self.id or f"row-{self.number}"


def read_manifest(path: Path) -> tuple[Row, ...]:
    """Read a manifest.

    Args:
        path: A CSV file (UTF-8) with a header. Relative addresses are relative to its folder.

    Returns:
        Its rows in order.

    Raises:
        ManifestError: If it cannot be read, lacks a column, repeats a name, or a cell is not what its column needs.
    """
    header, lines = _lines(path)
    rows = tuple(
        _row(number, dict(zip(header, line, strict=True)), path.absolute().parent)
        for number, line in enumerate(lines, start=1)
    )
    seen = Counter(row.id.casefold() for row in rows if row.id)
    twice = [row.number for row in rows if row.id and seen[row.id.casefold()] > 1]
    if twice:
        raise ManifestError(f"the manifest names one slide twice, in rows {', '.join(map(str, twice))}")
    return rows


def read_columns(path: Path) -> tuple[dict[str, str], ...]:
    """What a manifest says of its slides beside where they are.

    Args:
        path: The file that `read_manifest` takes.

    Returns:
        Column -> cell of each row in order, without `slide`, `path` and `mpp0`.
    """
    header, lines = _lines(path)
    return tuple({name: cell for name, cell in zip(header, line, strict=True) if name not in READ} for line in lines)


def _lines(path: Path) -> tuple[list[str], list[list[str]]]:
    """Header and rows, blank lines left out.

    Raises:
        ManifestError: If it is not a table.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *lines = [
                [cell.strip() for cell in line] for line in csv.reader(file, strict=True) if any(map(str.strip, line))
            ]
    except OSError as error:
        raise ManifestError("the manifest is not there, or may not be read") from error
    except (UnicodeDecodeError, csv.Error, ValueError) as error:
        raise ManifestError("the manifest is not a CSV table in UTF-8 with a header") from error
    if len(set(header)) != len(header) or not all(header):
        raise ManifestError("the manifest has a column without a name, or two with the same name")
    if "slide" not in header:
        raise ManifestError('the manifest lacks the column "slide"')
    if not lines:
        raise ManifestError("the manifest holds no slides")
    uneven = [number for number, line in enumerate(lines, start=1) if len(line) != len(header)]
    if uneven:
        raise ManifestError(f"row {uneven[0]} of the manifest has not as many cells as its header")
    return header, lines


def _row(number: int, cells: dict[str, str], folder: Path) -> Row:
    """One row, checked.

    Raises:
        ManifestError: Naming the row and the column, never what stands in the cell.
    """
    named = "path" in cells
    location = cells["path" if named else "slide"]
    if not location or not cells["slide"]:
        raise ManifestError(f'row {number} of the manifest has an empty "{"slide" if not cells["slide"] else "path"}"')
    for column in ("slide", "patient") if named else ("patient",):
        if cells.get(column) and not PSEUDONYM.fullmatch(cells[column]):
            raise ManifestError(f'"{column}" in row {number} of the manifest must be a pseudonym: {PSEUDONYM_WORDS}')
    return Row(
        number=number,
        address=Address(_located(location, folder), _mpp0(number, cells.get("mpp0", ""))),
        id=cells["slide"] if named else None,
        patient=cells.get("patient", ""),
    )


def _located(location: str, folder: Path) -> str:
    return location if "://" in location else str(folder / location)


def _mpp0(number: int, text: str) -> Mpp | None:
    """The scale that a row gives.

    Raises:
        ManifestError: If it is no scale.
    """
    if not text:
        return None
    try:
        return Mpp.square(float(text))
    except (ValueError, BadMppError) as error:
        raise ManifestError(
            f'"mpp0" in row {number} of the manifest is not a scale in micrometres per pixel'
        ) from error
