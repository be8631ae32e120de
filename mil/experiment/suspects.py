"""The list of labels that somebody should look at again, most suspicious first, in the folder of a run."""

from __future__ import annotations

import csv
import io
from typing import Final

from mil.experiment.out_of_fold import OutOfFold
from mil.tasks.decisions import Decisions
from mil.tasks.task import Task
from mil.training.suspicion import suspicious_labels

SUSPECTS: Final = "suspects.csv"
COLUMNS: Final = ("rank", "case", "about", "confidence", "reason")


def suspects_of(task: Task, found: OutOfFold) -> str:
    """Write the list.

    Args:
        task: What is learnt.
        found: What the heads said of cases that they had not seen.

    Returns:
        CSV; the header alone where no label is suspicious, or the task decides between no classes.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    if any(isinstance(part.task, Decisions) for part in task.parts):
        for rank, one in enumerate(suspicious_labels(task, found.targets, found.logits).suspects, 1):
            writer.writerow([rank, found.cases[one.row], one.about, f"{one.confidence:.4f}", one.reason])
    return text.getvalue()
