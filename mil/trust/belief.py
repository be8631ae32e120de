"""Trust with how it held on patients held out, or the reason why there is none: what a run keeps and a card says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mil.errors import CalibrationError
from mil.tasks.task import Task
from mil.trust.crosscheck import cross_coverage
from mil.trust.fit import fit_trust
from mil.trust.statements import statements
from mil.trust.trust import Trust


@dataclass(frozen=True)
class Belief:
    """What may be believed of a model's scores."""

    trust: Trust | None
    """None where it cannot be fitted."""
    coverage: tuple[dict[str, Any], ...] | None
    """Of each question, on patients that neither trust nor model had seen; None where none can be held out."""
    said: tuple[str, ...]
    """All of it in sentences."""


def believe(
    task: Task,
    logits: NDArray[np.floating[Any]],
    targets: NDArray[np.float32],
    patients: Sequence[str],
    alpha: float = 0.1,
) -> Belief:
    """Fit trust and judge it; what cannot be done is said and is no error.

    Args:
        task: Settled.
        logits: Out of fold [N, C].
        targets: [N, T]; NaN where not known.
        patients: One a case [N].
        alpha: Share of sets or intervals that may miss the truth.

    Returns:
        The belief.
    """
    try:
        trust = fit_trust(task, logits, targets, patients, alpha)
    except CalibrationError as error:
        return Belief(None, None, (f"Not calibrated. {error}",))
    try:
        judged = cross_coverage(task, logits, targets, patients, alpha)
    except CalibrationError as error:
        return Belief(trust, None, (*statements(trust), str(error)))
    covered = [_covered(one, alpha) for one in judged if one]
    return Belief(trust, tuple(judged), (*statements(trust), *covered))


def _covered(judged: Mapping[str, Any], alpha: float) -> str:
    low, high = judged["interval"]
    kind, rest = "Intervals", ""
    if "size" in judged:
        single, right = judged["single"], judged["right"]
        correct = "" if right is None else f", {right:.1%} of them rightly"
        kind, rest = "Sets", f"; {single:.1%} have one answer{correct}, the others say refer"
    return (
        f"{kind} of {1 - alpha:.0%} held the truth of {judged['coverage']:.1%} of patients that neither they nor the "
        f"model had seen (95 % interval {low:.1%} to {high:.1%}){rest}."
    )
