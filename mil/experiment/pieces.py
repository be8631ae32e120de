"""The pieces of a run that workers do: a member or a linear model of one fold, kept whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from mil.checkpoint import save_fit
from mil.experiment.development import Development, prepare
from mil.experiment.experiment import Experiment
from mil.experiment.fold import fit_fold, fit_fold_baseline
from tiling.commit import is_committed, staged, verify_manifest

SAID, HISTORY, FOLDS = "predictions.safetensors", "history.json", "folds.csv"
REQUEST: Final = "request.json"
"""Says in the folder of an unfinished run what it is of, the fingerprint of its labels included."""
ABOUT: Final = ("case", "patient", "centre")
Kind = Literal["members", "baseline"]


@dataclass(frozen=True)
class Piece:
    """What a worker needs to know."""

    experiment: Experiment
    folder: Path
    """Of the run while it is built; it holds the folds."""
    kind: Kind
    fold: int
    """Counted over all repeats."""
    seed: int = 0

    @property
    def name(self) -> str:
        """Such as `3-0` for seed 0 of fold 3, or `3` for its linear model."""
        return f"{self.fold}-{self.seed}" if self.kind == "members" else f"{self.fold}"

    @property
    def place(self) -> Path:
        """Its own folder."""
        return self.folder / self.kind / self.name


def do_piece(piece: Piece) -> str:
    """Do a piece, unless it has been done and is whole.

    Args:
        piece: Which.

    Returns:
        Its name.
    """
    if is_committed(piece.place) and not verify_manifest(piece.place):
        return piece.name
    shutil.rmtree(piece.place, ignore_errors=True)  # what is there is not whole
    data = _development(piece.experiment, (piece.folder / REQUEST).read_text())
    repeats = read_folds(piece.folder)
    repeat, fold = divmod(piece.fold, int(repeats.max()) + 1)
    with staged(piece.place, kind=f"oncoscope-{piece.kind}", fold=piece.fold, seed=piece.seed) as draft:
        if piece.kind == "members":
            found = fit_fold(piece.experiment, data, repeats[repeat], fold, seed=piece.seed)
            save_fit(found.fit, draft)
            (draft / HISTORY).write_text(json.dumps(found.history))
            rows, logits = found.rows, found.logits
        else:
            model, rows, logits = fit_fold_baseline(data, repeats[repeat], fold)
            model.save(draft)
        (draft / SAID).write_bytes(save({"rows": rows, "logits": logits}))
    return piece.name


def said(piece: Piece) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """What a piece said of the cases it was judged on.

    Args:
        piece: One that is done.

    Returns:
        Rows of the cases, and their logits [rows, C].
    """
    parts = load((piece.place / SAID).read_bytes())
    return parts["rows"], parts["logits"]


def history(piece: Piece) -> list[dict[str, float]]:
    """Losses of a member by epoch.

    Args:
        piece: One that is done.

    Returns:
        One entry an epoch.
    """
    found: list[dict[str, float]] = json.loads((piece.place / HISTORY).read_text())
    return found


def write_folds(folder: Path, data: Development, folds: NDArray[np.int64]) -> None:
    """Leave the folds for the workers, and for whoever reads the run.

    Args:
        folder: Of the run while it is built.
        data: The cases.
        folds: [repeats, cases].
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*ABOUT, *(f"repeat_{repeat}" for repeat in range(len(folds)))])
    for case, column in zip(data.cohort.cases, folds.T, strict=True):
        writer.writerow([case.id, case.patient, case.centre, *column])
    (folder / FOLDS).write_text(text.getvalue(), encoding="utf-8")


def read_folds(folder: Path) -> NDArray[np.int64]:
    """Read what `write_folds` wrote.

    Args:
        folder: The same.

    Returns:
        [repeats, cases].
    """
    with (folder / FOLDS).open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    return np.array([row[len(ABOUT) :] for row in rows], np.int64).T


@lru_cache(maxsize=1)  # all pieces of a run ask for the same; a worker that lives on reads anew for another request
def _development(experiment: Experiment, request: str) -> Development:
    del request
    return prepare(experiment)
