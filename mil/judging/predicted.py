"""What both models of a run say: out of fold about its own cases, or about cases of elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mil.cohort.cohort import Cohort
from mil.errors import CalibrationError
from mil.experiment.folder import RunFolder
from mil.judging.cases import Cases
from mil.judging.judge import scores_of
from mil.tasks.task import Task
from mil.trust.fit import fit_trust

Logits = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Predicted:
    """The same cases, judged by the head and by the linear model."""

    ids: tuple[str, ...]
    """Pseudonyms."""
    head: Cases
    baseline: Cases
    members: Logits | None = None
    """Of the head's members [members, N, C]; None out of fold, where each case has its own."""

    def grouped(self, groups: Mapping[str, Sequence[str]]) -> Predicted:
        """With columns by which figures are grouped.

        Args:
            groups: Column -> text of each case.

        Returns:
            The same predictions.
        """
        return replace(self, head=replace(self.head, groups=groups), baseline=replace(self.baseline, groups=groups))


def out_of_fold(run: RunFolder) -> Predicted:
    """What a run said about the cases of training, by members that had not seen the patient.

    Args:
        run: A finished run.

    Returns:
        Predictions; the probabilities of a fold are calibrated on the other folds.
    """
    found = run.out_of_fold()
    folds = found.folds[0]
    each = []
    for logits in (found.logits, found.baseline_logits):
        said = np.empty_like(run.task.probabilities(logits))
        for fold in np.unique(folds):
            held = folds == fold
            people = [name for name, out in zip(found.patients, held, strict=True) if not out]
            said[held] = _calibrated(run.task, (logits[~held], found.targets[~held], people), logits[held])
        scores = scores_of(run.task, logits)
        each.append(Cases(found.targets.astype(np.float64), said, scores, found.patients, {}, folds))
    return Predicted(found.cases, each[0], each[1])


def elsewhere(run: RunFolder, cohort: Cohort) -> Predicted:
    """What a run says about cases that none of its members has seen.

    Args:
        run: A finished run.
        cohort: Other cases, with the columns of the task.

    Returns:
        Predictions: the mean of the members, calibrated as the run calibrates.
    """
    targets, patients = run.task.targets(cohort.table), tuple(case.patient for case in cohort.cases)
    members = run.predict_logits(cohort)
    pairs = (run.trust("head"), members), (run.trust("baseline"), run.predict_baseline(cohort))
    each = []
    for trust, logits in pairs:
        mean = logits.mean(axis=0)
        said = run.task.probabilities(mean) if trust is None else trust.apply(logits).probabilities
        each.append(Cases(targets.astype(np.float64), said, scores_of(run.task, mean), patients))
    return Predicted(tuple(case.id for case in cohort.cases), each[0], each[1], members)


def _calibrated(
    task: Task, known: tuple[Logits, NDArray[np.float32], Sequence[str]], logits: Logits
) -> NDArray[np.float64]:
    """Probabilities of logits [N, C]; as the task has them where nothing can be fitted."""
    try:
        return fit_trust(task, *known).apply(logits).probabilities
    except CalibrationError:
        return task.probabilities(logits)
