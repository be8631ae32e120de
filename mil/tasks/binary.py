"""Yes or no: one logit, binary cross-entropy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mil.tasks.decisions import sigmoid, two_sided
from mil.tasks.one_column import OneColumn
from mil.tasks.task import Kind


@dataclass(frozen=True)
class Binary(OneColumn):
    """One column, some of whose texts are positive and some negative."""

    positive: tuple[str, ...] = ("1",)
    negative: tuple[str, ...] = ("0",)
    kind: ClassVar[Kind] = "binary"

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """No, then yes."""
        return (self.negative, self.positive)

    @property
    def answers(self) -> tuple[str, ...]:
        """No and yes."""
        return ("negative", "positive")

    @property
    def outputs(self) -> int:
        """One logit."""
        return 1

    @property
    def classes(self) -> tuple[str, ...]:
        """The positive class alone."""
        return ("positive",)

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """Of no and yes.

        Args:
            logits: [B, 1].

        Returns:
            [B, 1, 2].
        """
        return two_sided(logits)

    def one_hot(self, targets: Tensor) -> Tensor:
        """True where positive.

        Args:
            targets: [B, 1].

        Returns:
            bool [B, 1].
        """
        return targets == 1

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Logistic function.

        Args:
            logits: [cases, 1].

        Returns:
            [cases, 1].
        """
        return sigmoid(logits)

    def score(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """The logit.

        Args:
            logits: [cases, 1].

        Returns:
            [cases].
        """
        return logits[:, 0].astype(np.float64)
