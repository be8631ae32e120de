"""From what the pieces of a run said to its tables."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mil.experiment.development import Development
from mil.experiment.folder import MEMBERS
from mil.experiment.out_of_fold import OutOfFold
from mil.experiment.pieces import Piece, history, said


def gather(data: Development, folds: NDArray[np.int64], pieces: Sequence[Piece]) -> OutOfFold:
    """Put together what all pieces said; the seeds of a fold are averaged.

    Args:
        data: The cases.
        folds: [repeats, cases].
        pieces: All that were done.

    Returns:
        The predictions.
    """
    shape = (2, len(folds), len(data.cohort), data.task.outputs)
    total, count = np.zeros(shape, np.float64), np.zeros((*shape[:3], 1))
    per_repeat = int(folds.max()) + 1
    for piece in pieces:
        rows, logits = said(piece)
        where = (int(piece.kind == "baseline"), piece.fold // per_repeat, rows)
        total[where] += logits
        count[where] += 1
    mean = (total / count).astype(np.float32)
    return OutOfFold(
        cases=tuple(case.id for case in data.cohort.cases),
        patients=data.patients,
        centres=data.centres,
        folds=folds,
        targets=data.targets,
        logits=mean[0].mean(axis=0),
        baseline_logits=mean[1].mean(axis=0),
        by_repeat=mean[0],
        baseline_by_repeat=mean[1],
    )


def histories(pieces: Sequence[Piece]) -> str:
    """Losses of all members by epoch.

    Args:
        pieces: All that were done.

    Returns:
        Lines of JSON.
    """
    members = [piece for piece in pieces if piece.kind == MEMBERS]
    return "".join(
        json.dumps({"fold": piece.fold, "seed": piece.seed, **epoch}) + "\n"
        for piece in members
        for epoch in history(piece)
    )
