"""What comes of applying trust to logits: numbers, sets and intervals of each case."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mil.trust.questions import Question


@dataclass(frozen=True, eq=False)
class Trusted:
    """Scores of N cases with what they may be believed. Research use only."""

    logits: NDArray[np.float64]
    """Calibrated, mean over members [N, C]."""
    probabilities: NDArray[np.float64]
    """What the task makes of them [N, K]."""
    sets: tuple[NDArray[np.bool_] | None, ...]
    """A question: answers that cannot be excluded [N, answers]; None where it has no answers."""
    intervals: tuple[NDArray[np.float64] | None, ...]
    """A question: lower and upper end of its value [N, 2]; None where it asks for none."""
    spread: NDArray[np.float64] | None
    """Standard deviation of the members' calibrated logits [N, C]; None where one model was asked."""
    information: tuple[NDArray[np.float64] | None, ...]
    """A question: mutual information of members and answer, nats [N]; None without answers or of one model."""
    apart: tuple[NDArray[np.float64] | None, ...]
    """A question: share of the members that alone would give another set [N]; None without answers or of one model."""
    questions: tuple[Question, ...]
    alpha: float
    """Share of sets and intervals that may miss the truth."""

    def __len__(self) -> int:
        return len(self.logits)
