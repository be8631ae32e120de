"""What models said about cases that they had not seen: the table of out-of-fold predictions."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mil.errors import CheckpointError

KEYS: Final = ("case", "patient", "centre", "repeat", "fold")


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """Scores of every case of training by the members that had not seen its patient."""

    cases: tuple[str, ...]
    """Pseudonym of each case."""
    patients: tuple[str, ...]
    centres: tuple[str, ...]
    folds: NDArray[np.int64]
    """The fold in which each case was judged, one row a repeat, int64 [repeats, N]."""
    targets: NDArray[np.float32]
    """[N, T], NaN where missing."""
    logits: NDArray[np.float32]
    """Mean over seeds and repeats [N, C]."""
    baseline_logits: NDArray[np.float32]
    """Of the linear model on pooled tiles, in the same terms [N, C]."""
    by_repeat: NDArray[np.float32]
    """Logits of each repeat, mean over seeds [repeats, N, C]."""
    baseline_by_repeat: NDArray[np.float32]
    """The same of the baseline [repeats, N, C]."""


def table_of(found: OutOfFold) -> str:
    """Write the predictions as a table.

    Args:
        found: All repeats.

    Returns:
        CSV, one row a repeat and case; numbers read back as the same bits.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    widths = {"target": found.targets.shape[1], "logit": found.logits.shape[1], "baseline": found.logits.shape[1]}
    writer.writerow([*KEYS, *(f"{name}_{i}" for name, width in widths.items() for i in range(width))])
    for repeat, folds in enumerate(found.folds):
        numbers = np.hstack([found.targets, found.by_repeat[repeat], found.baseline_by_repeat[repeat]])
        about = zip(found.cases, found.patients, found.centres, folds, numbers, strict=True)
        for case, patient, centre, fold, row in about:
            writer.writerow([case, patient, centre, repeat, fold, *(str(np.float32(value)) for value in row)])
    return text.getvalue()


def read_table(path: Path, width: int, outputs: int) -> OutOfFold:
    """Read what `table_of` wrote.

    Args:
        path: The CSV.
        width: Numbers T of a target.
        outputs: Logits C.

    Returns:
        The predictions.

    Raises:
        CheckpointError: It is not such a table.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *rows = list(csv.reader(file))
        numbers = np.array([row[len(KEYS) :] for row in rows], np.float32)
        repeats = 1 + max(int(row[3]) for row in rows)
        folds = np.array([row[4] for row in rows], np.int64).reshape(repeats, -1)
        parts = numbers.reshape(repeats, folds.shape[1], width + 2 * outputs)
    except (OSError, ValueError, IndexError) as error:
        raise CheckpointError("The table of predictions of the run cannot be read.") from error
    if tuple(header[: len(KEYS)]) != KEYS:
        raise CheckpointError("The table of predictions of the run has other columns than it should.")
    first = rows[: folds.shape[1]]
    logits, baseline = parts[:, :, width : width + outputs], parts[:, :, width + outputs :]
    return OutOfFold(
        cases=tuple(row[0] for row in first),
        patients=tuple(row[1] for row in first),
        centres=tuple(row[2] for row in first),
        folds=folds,
        targets=parts[0, :, :width],
        logits=logits.mean(axis=0),
        baseline_logits=baseline.mean(axis=0),
        by_repeat=logits,
        baseline_by_repeat=baseline,
    )
