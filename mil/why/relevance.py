"""What every method of explanation gives, and what it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mil.why.asked import Asked
from mil.why.averaging import Averaging


@dataclass(frozen=True, eq=False)
class Relevance:
    """How much each tile matters, by one method."""

    values: NDArray[np.float32]
    """[N]; larger for what speaks for a higher score."""
    gap: float | None = None
    """What the values leave unexplained of the logits they promise to add up to; None where they promise nothing."""


@runtime_checkable
class Method(Protocol):
    """One way to say what each tile did."""

    def __call__(self, asked: Asked, scorer: Asked | Averaging) -> Relevance:
        """Explain one output.

        Args:
            asked: Head and slide.
            scorer: The cheapest exact way to score parts of the slide.

        Returns:
            One value a tile.
        """
