"""What is judged beside the models: sets of answers, centres, treatment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mil.cohort.cohort import Cohort
from mil.errors import CalibrationError, LabelError, MetricError
from mil.experiment.folder import RunFolder
from mil.judging.cases import Asked
from mil.judging.centre import centre_probe, robustness_index
from mil.judging.figure import Json
from mil.judging.predicted import Predicted
from mil.judging.subgroups import quarters
from mil.judging.treatment import judge_treatment
from mil.tasks.task import Task
from mil.training.pooled import pool_cohort
from mil.trust.coverage import coverage, interval_coverage
from mil.trust.crosscheck import cross_coverage
from mil.trust.streaming import pieces

LIKE, UNLIKE = "like training", "unlike training"


def centres(task: Task, cohort: Cohort, biology: Sequence[str] | None, seed: int) -> Json:
    """Whether slides know where they were made.

    Args:
        task: Of the run.
        cohort: The judged cases, with their bags.
        biology: What each case is, "" where not known; None takes the strata of the task.
        seed: Of folds and samples.

    Returns:
        `probe` and `robustness`.
    """
    vectors = pool_cohort(cohort).mean.astype(np.float32)
    places = [case.centre for case in cohort.cases]
    strata = task.strata(task.targets(cohort.table))
    what = ["" if s < 0 else str(s) for s in strata.tolist()] if biology is None else biology
    probe = centre_probe(vectors, places, [case.patient for case in cohort.cases], seed=seed)
    return {"probe": probe, "robustness": robustness_index(vectors, what, places, seed=seed)}


def sets(run: RunFolder, said: Predicted) -> list[Mapping[str, Any]] | Json:
    """How often sets of answers held the truth.

    Args:
        run: The run.
        said: Its own cases, which are judged on patients held out, or cases of elsewhere.

    Returns:
        A question: coverage of its sets or intervals; a `reason` where nothing can be fitted.
    """
    found, alpha = run.out_of_fold(), run.experiment.trust.alpha
    try:
        if said.members is None:
            return list(cross_coverage(run.task, found.logits, found.targets, found.patients, alpha))
        trust = run.trust()
        if trust is None:
            return {"reason": "the run has no sets, for they could not be fitted"}
        trusted, judged = trust.apply(said.members), list[Mapping[str, Any]]()
        targets, patients = said.head.targets.astype(np.float32), said.head.patients
        for own, ends, question in zip(trusted.sets, trusted.intervals, trusted.questions, strict=True):
            if own is not None:
                judged.append(coverage(own, question.truth(targets), patients))
            elif ends is not None:
                judged.append(interval_coverage(ends, question.wanted(targets)[:, 0].astype(np.float64), patients))
    except CalibrationError as error:
        return {"reason": str(error)}
    return judged


def likeness(run: RunFolder, cohort: Cohort) -> list[str]:
    """Whether cases of elsewhere are like those of training.

    Args:
        run: The run.
        cohort: The cases.

    Returns:
        `LIKE` or `UNLIKE` of each case, by which figures can be grouped; [] where the run does not know.
    """
    known = run.outliers
    if known is None:
        return []
    parts = ((part for _, part in pieces(cohort, index)) for index in range(len(cohort)))
    return [UNLIKE if known.judge(part).reasons else LIKE for part in parts]


def treated_of(name: str, cohort: Cohort) -> NDArray[np.float64]:
    """Who was treated.

    Args:
        name: Of the column.
        cohort: With it.

    Returns:
        1, 0 or NaN of each case.

    Raises:
        LabelError: A text is neither 1 nor 0; names the row.
    """
    meaning = {"1": 1.0, "0": 0.0, "1.0": 1.0, "0.0": 0.0, "": np.nan}
    for case, text in zip(cohort.cases, cohort.table[name], strict=True):
        if text not in meaning:
            raise LabelError(f"Row {case.row} of the table of labels: column {name} must be 1 (treated) or 0.")
    return np.array([meaning[text] for text in cohort.table[name]])


def treatment(
    task: Task,
    said: Predicted,
    treated: NDArray[np.float64],
    covariates: Mapping[str, Sequence[str]],
    asked: Asked,
) -> Json:
    """Whether the score tells who should be treated.

    Args:
        task: A binary or survival task.
        said: The judged cases.
        treated: From `treated_of`.
        covariates: Column -> text of each case, known before treatment; many numbers are cut into quarters.
        asked: How.

    Returns:
        From `judge_treatment`; a `reason` where it cannot be judged.
    """
    cases = said.head
    rows = np.flatnonzero(np.isfinite(treated) & np.isfinite(cases.targets).all(axis=1))
    if task.kind not in {"binary", "survival"}:
        return {"reason": "treatment is judged for yes or no and for survival alone"}
    survival, own = task.kind == "survival", cases.take(rows)
    try:
        return judge_treatment(
            treated[rows],
            own.targets[:, 1 if survival else 0],
            own.scores.reshape(len(rows), -1)[:, 0],
            {name: quarters([texts[row] for row in rows.tolist()]) for name, texts in covariates.items()},
            times=own.targets[:, 0] if survival else None,
            patients=own.patients,
            draws=asked.count,
            seed=asked.seed,
        )
    except MetricError as error:
        return {"reason": str(error)}
