"""The folder of a run: opened only if every file is what it was when the run ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from mil.checkpoint import load_fit
from mil.cohort.cohort import Cohort
from mil.errors import CheckpointError, ExperimentError
from mil.experiment.baseline import Baseline
from mil.experiment.experiment import Experiment
from mil.experiment.out_of_fold import OutOfFold, read_table
from mil.experiment.read import parse_experiment
from mil.infer import predict_cohort
from mil.tasks.read import read_task
from mil.tasks.task import Task
from mil.train import Fit
from mil.trust.outliers import Outliers
from mil.trust.outliers_store import load_outliers
from mil.trust.trust import Trust
from tiling.commit import MANIFEST, read_manifest, verify_manifest
from tiling.errors import TilingError

FORMAT: Final = "oncoscope-run-1"
EXPERIMENT, RUN, PREDICTIONS, CARD = "experiment.toml", "run.json", "predictions.csv", "card.md"
MEMBERS, BASELINE = "members", "baseline"
TRUST, OUTLIERS = "trust.json", "outliers"


@dataclass(frozen=True, eq=False)
class RunFolder:
    """A finished run.

    Files that the run did not write (a report, the record of an opened seal) may stand beside its own and are not
    looked at; the card is for people and may be added to.
    """

    path: Path
    experiment: Experiment
    task: Task
    """With what depends on the cases of training settled, such as bins of time."""
    record: Mapping[str, Any]
    """`run.json`: figures, winner, fingerprints, versions."""

    @classmethod
    def open(cls, path: Path, root: Path | None = None) -> RunFolder:
        """Open a run and see that it is whole.

        Args:
            path: The folder that `oncoscope train` wrote.
            root: Folder of the data, where it is no longer where it was.

        Returns:
            The run.

        Raises:
            CheckpointError: It is no run, or a file of it is missing or changed.
        """
        verify(path)
        try:
            record = json.loads((path / RUN).read_bytes())
            place = root or Path(record["data"]["root"])
            experiment = parse_experiment((path / EXPERIMENT).read_bytes(), lambda _: place)
            task = read_task(record["task"])
        except (OSError, ValueError, KeyError, TypeError, ExperimentError) as error:
            raise CheckpointError("The record of the run is not one of ours.") from error
        if record.get("format") != FORMAT:
            raise CheckpointError("The run was written by another version.")
        return cls(path, experiment, task, record)

    @cached_property
    def members(self) -> tuple[Fit, ...]:
        """The fitted heads, one a fold and seed."""
        return tuple(load_fit(self.path / MEMBERS / name) for name in self.record["members"])

    @cached_property
    def baseline(self) -> tuple[Baseline, ...]:
        """The linear models, one a fold."""
        return tuple(Baseline.load(self.path / BASELINE / name) for name in self.record["baseline"])

    def trust(self, model: Literal["head", "baseline"] = "head") -> Trust | None:
        """Calibration and sets, fitted to what the model said out of fold.

        Args:
            model: The members, or the linear models.

        Returns:
            The trust; None where it could not be fitted.
        """
        table = json.loads((self.path / TRUST).read_bytes())
        return Trust.from_table(table[model], self.task) if model in table else None

    @cached_property
    def outliers(self) -> Outliers | None:
        """What tiles and slides of training look like; None where it could not be fitted."""
        return load_outliers(self.path / OUTLIERS) if (self.path / OUTLIERS).is_dir() else None

    def out_of_fold(self) -> OutOfFold:
        """What was said about each case of training by members that had not seen its patient.

        Returns:
            The predictions.
        """
        return read_table(self.path / PREDICTIONS, self.task.width, self.task.outputs)

    def predict_logits(self, cohort: Cohort) -> NDArray[np.float32]:
        """Score cases with every member, on all their tiles.

        Args:
            cohort: Any cases of the encoder and zooms of the run; others end in a `BagError`.

        Returns:
            float32 [members, N, C].
        """
        return np.stack([predict_cohort(member, cohort) for member in self.members])

    def predict_baseline(self, cohort: Cohort) -> NDArray[np.float32]:
        """Score cases with the linear models.

        Args:
            cohort: Any cases.

        Returns:
            float32 [folds, N, C].
        """
        return np.stack([model.logits(cohort) for model in self.baseline])


def verify(path: Path) -> None:
    """Read every byte that the run wrote and compare with its manifest.

    Args:
        path: The folder.

    Raises:
        CheckpointError: It is no finished run, or a file is missing or changed.
    """
    try:
        known = {*read_manifest(path)["members"], MANIFEST} - {CARD}
        damaged = sorted(known & set(verify_manifest(path)))
    except (TilingError, OSError) as error:
        raise CheckpointError(
            "There is no finished run in this folder: name what `oncoscope train --out` wrote, or run that again."
        ) from error
    if damaged:
        raise CheckpointError(f"{len(damaged)} files of the run are missing or changed since it ended.")
