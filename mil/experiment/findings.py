"""What is found out about scores and labels once all cases have been judged: trust, outliers, suspicious labels."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any, Final

from mil.errors import CalibrationError
from mil.experiment.development import Development
from mil.experiment.experiment import Experiment
from mil.experiment.folder import OUTLIERS, TRUST
from mil.experiment.out_of_fold import OutOfFold
from mil.tasks.decisions import Decisions
from mil.training.suspicion import suspicious_labels
from mil.trust.belief import believe
from mil.trust.outliers_fit import fit_outliers
from mil.trust.outliers_store import save_outliers

SUSPECTS = "suspects.csv"
COLUMNS: Final = ("case", "row", "about", "given", "likely", "confidence", "reason")


def write_findings(experiment: Experiment, data: Development, found: OutOfFold, folder: Path) -> dict[str, Any]:
    """Fit trust and outliers, and rank suspicious labels.

    Args:
        experiment: `trust` is used.
        data: The cases of training.
        found: What was said of them out of fold.
        folder: Of the run while it is built.

    Returns:
        What may be believed of both models, what could not be fitted and why, and how many labels are suspicious.
    """
    return {
        "trust": _trust(experiment, data, found, folder),
        "outliers": _outliers(data, folder),
        **_suspects(data, found, folder),
    }


def _trust(experiment: Experiment, data: Development, found: OutOfFold, folder: Path) -> dict[str, Any]:
    """Of the head and of the linear model, since either may be what is used: what is said of each, and how it held."""
    tables, about = {}, {}
    for name, logits in (("head", found.logits), ("baseline", found.baseline_logits)):
        own = believe(data.task, logits, found.targets, found.patients, experiment.trust.alpha)
        about[name] = {"said": list(own.said), "coverage": own.coverage}
        if own.trust is not None:
            tables[name] = own.trust.to_table()
    (folder / TRUST).write_text(json.dumps(tables, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return about


def _outliers(data: Development, folder: Path) -> str:
    try:
        save_outliers(fit_outliers(data.cohort), folder / OUTLIERS)
    except CalibrationError as error:
        return str(error)
    return "fitted"


def _suspects(data: Development, found: OutOfFold, folder: Path) -> dict[str, Any]:
    """Rank the labels, most suspicious first; rows are those of the table of labels."""
    if not any(isinstance(part.task, Decisions) for part in data.task.parts):
        return {"suspects": None, "label_noise": None}
    suspicion = suspicious_labels(data.task, found.targets, found.logits)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in suspicion.suspects:
        case = data.cohort.cases[one.row]
        writer.writerow([case.id, case.row, one.about, one.given, one.likely, f"{one.confidence:.4f}", one.reason])
    (folder / SUSPECTS).write_text(text.getvalue(), encoding="utf-8")
    return {"suspects": len(suspicion.suspects), "label_noise": list(suspicion.noise)}
