"""Labels that are probably wrong, by confident learning (Northcutt, Jiang & Chuang 2021), most suspicious first.

A case counts as confidently of class k if k is its likeliest class among those whose probability reaches the mean that
the cases labelled k themselves reach. Where that is another class than the label, somebody should look again. The
probabilities must be out of fold: a head that has seen a label agrees with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mil.errors import ExperimentError
from mil.tasks.decisions import Decisions
from mil.tasks.task import Task


@dataclass(frozen=True)
class Suspect:
    """One label that is worth a second look."""

    row: int
    """Which case, from 0."""
    about: str
    """What was decided, such as the column."""
    given: int
    """The class that the label says, from 0, in the order of the task's `answers`."""
    likely: int
    """The class that the other cases speak for."""
    confidence: float
    """Probability of the given class: the smaller, the more suspicious."""
    reason: str
    """One sentence for people."""


@dataclass(frozen=True)
class Suspicion:
    """Suspicious labels of a cohort."""

    suspects: tuple[Suspect, ...]
    """Most suspicious first."""
    noise: tuple[float, ...]
    """Estimated share of wrong labels of each decision [L]."""


def suspicious_labels(task: Task, targets: NDArray[np.float32], logits: NDArray[np.float32]) -> Suspicion:
    """Rank the labels that disagree with what the other cases teach.

    Args:
        task: One that decides between classes, or several of which some do.
        targets: [cases, T].
        logits: Out of fold [cases, C].

    Returns:
        The suspects and the estimated noise, decisions in the order of the task.

    Raises:
        ExperimentError: The task decides between no classes.
    """
    parts = [(part, part.task) for part in task.parts if isinstance(part.task, Decisions)]
    if not parts:
        raise ExperimentError(f"A task of {task.kind} has no classes, so none of its labels can be of another one.")
    suspects: list[Suspect] = []
    noise = []
    for part, decisions in parts:
        truth = decisions.truth(torch.from_numpy(targets[:, part.targets])).numpy()
        said = decisions.log_probabilities(torch.from_numpy(logits[:, part.logits])).exp().double().numpy()
        for place, about in enumerate(decisions.names):
            likely = confident_class(truth[:, place], said[:, place])
            suspects += _suspects((about, decisions.answers), truth[:, place], said[:, place], likely)
            noise.append(noise_share(truth[:, place], likely, said.shape[2]))
    return Suspicion(tuple(sorted(suspects, key=lambda one: (one.confidence, one.row))), tuple(noise))


def confident_class(truth: NDArray[np.int64], probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
    """The class that each case is confidently of.

    Args:
        truth: Class that the label says, -1 where not known [cases].
        probabilities: Out of fold [cases, K].

    Returns:
        int64 [cases]; -1 where it is confidently of none, or has no label.
    """
    classes = range(probabilities.shape[1])
    least = [probabilities[truth == k, k].mean() if (truth == k).any() else np.inf for k in classes]
    reached = np.where(probabilities >= least, probabilities, -1.0)
    return np.where((truth >= 0) & (reached.max(axis=1) >= 0), reached.argmax(axis=1), -1).astype(np.int64)


def noise_share(truth: NDArray[np.int64], likely: NDArray[np.int64], classes: int) -> float:
    """Estimate how many labels are wrong, from the confident joint scaled to how often each label was given.

    Args:
        truth: Class that the label says, -1 where not known [cases].
        likely: What `confident_class` said [cases].
        classes: K.

    Returns:
        0 to 1.
    """
    sure = likely >= 0
    joint = np.bincount(truth[sure] * classes + likely[sure], minlength=classes**2).reshape(classes, classes)
    given = np.bincount(truth[truth >= 0], minlength=classes)
    right = np.where(joint.sum(axis=1) > 0, np.diag(joint) / np.maximum(joint.sum(axis=1), 1), 1.0)
    return float(1.0 - given @ right / max(given.sum(), 1))


def _suspects(
    words: tuple[str, tuple[str, ...]], truth: NDArray[np.int64], said: NDArray[np.float64], likely: NDArray[np.int64]
) -> list[Suspect]:
    about, answers = words
    found = []
    for row in np.flatnonzero((likely >= 0) & (likely != truth)).tolist():
        given, other = int(truth[row]), int(likely[row])
        own, theirs = float(said[row, given]), float(said[row, other])
        usual = float(said[truth == other, other].mean())
        reason = (
            f"The other cases give its label, {answers[given]}, {own:.2f} and {answers[other]} {theirs:.2f}; "
            f"those that are labelled {answers[other]} reach {usual:.2f} in the mean."
        )
        found.append(Suspect(row, about, given, other, own, reason))
    return found
