"""Grades with an order: cumulative logits that no weights can put out of order.

CORAL (Cao, Mirjalili & Raschka 2020, Rank consistent ordinal regression) asks at each threshold k whether the grade is
above it, with one shared score and thresholds that should fall. Here the first logit is the score and each further one
the drop to the next threshold, through softplus: P(grade > k) falls with k whatever a head gives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mil.tasks.decisions import sigmoid, two_sided
from mil.tasks.one_column import OneColumn
from mil.tasks.task import Kind


@dataclass(frozen=True)
class Ordinal(OneColumn):
    """One column whose texts fall into K grades, lowest first."""

    column: str = "grade"
    grades: tuple[tuple[str, ...], ...] = (("1",), ("2",), ("3",))
    """Texts of each grade; the first of them is its name. In TOML a grade of one text may be that text alone."""
    kind: ClassVar[Kind] = "ordinal"

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """The grades, lowest first."""
        return self.grades

    @property
    def names(self) -> tuple[str, ...]:
        """The thresholds."""
        return tuple(f"threshold {k + 1} of column {self.column}" for k in range(self.outputs))

    @property
    def answers(self) -> tuple[str, ...]:
        """Below and above a threshold."""
        return ("not above", "above")

    @property
    def outputs(self) -> int:
        """One logit a threshold, K - 1."""
        return len(self.grades) - 1

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """Of not above and above each threshold.

        Args:
            logits: [B, K - 1].

        Returns:
            [B, K - 1, 2].
        """
        drops = functional.softplus(logits[:, 1:].float()).cumsum(dim=1)
        return two_sided(torch.cat([logits[:, :1].float(), logits[:, :1].float() - drops], dim=1))

    def truth(self, targets: Tensor) -> Tensor:
        """Whether the grade is above each threshold.

        Args:
            targets: [B, 1].

        Returns:
            int64 [B, K - 1].
        """
        above = (targets > targets.new_tensor(range(self.outputs))).long()
        return torch.where(targets.isnan(), -1, above)

    def above(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Probability of a grade above each threshold.

        Args:
            logits: [cases, K - 1].

        Returns:
            [cases, K - 1], never rising along a row.
        """
        wide = logits.astype(np.float64)
        drops = np.cumsum(np.logaddexp(0.0, wide[:, 1:]), axis=1)
        return sigmoid(np.concatenate([wide[:, :1], wide[:, :1] - drops], axis=1))

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Of each grade.

        Args:
            logits: [cases, K - 1].

        Returns:
            [cases, K].
        """
        return np.asarray(-np.diff(self.above(logits), axis=1, prepend=1.0, append=0.0))

    def score(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """The expected grade.

        Args:
            logits: [cases, K - 1].

        Returns:
            0 to K - 1 [cases].
        """
        return np.asarray(self.above(logits).sum(axis=1))
