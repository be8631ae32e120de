"""Which tiles of a low zoom are worth a closer look, and which are looked at by chance to say what the others hide."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mil.errors import ExperimentError


@dataclass(frozen=True)
class CascadeSpec:
    """How much of a slide the expensive encoder sees.

    Raises:
        ExperimentError: A share makes no sense.
    """

    top: float = 0.1
    """Share of the low-zoom tiles that is looked at because it scores highest."""
    random: float = 0.05
    """Share of the rest that is looked at by chance. Without it nothing can be said of what was skipped."""
    seed: int = 0
    """Of the chance."""

    def __post_init__(self) -> None:
        if not 0 < self.top <= 1 or not 0 <= self.random <= 1 or self.seed < 0:
            raise ExperimentError("The top share of a cascade must be above 0, the random one 0 to 1, the seed 0 up.")


@dataclass(frozen=True, eq=False)
class Choice:
    """Rows of low-zoom tiles, each ascending; together all of them."""

    top: NDArray[np.int64]
    random: NDArray[np.int64]
    skipped: NDArray[np.int64]

    @property
    def stands_for(self) -> float:
        """How many tiles below the top each random one stands for; 0 where there is none."""
        return (len(self.random) + len(self.skipped)) / len(self.random) if len(self.random) else 0.0


def choose(values: NDArray[np.floating], spec: CascadeSpec) -> Choice:
    """Choose by score and by chance.

    Args:
        values: What the cheap head says of each low-zoom tile [N], larger for more relevant.
        spec: How many.

    Returns:
        At least one tile by score; of the rest a simple random sample, at least one where a share is asked for.
    """
    order = np.argsort(-values, kind="stable")
    top, rest = np.split(order, [math.ceil(spec.top * len(order) - 1e-9)])
    luck = np.random.default_rng(spec.seed).permutation(rest)
    random, skipped = np.split(luck, [math.ceil(spec.random * len(rest) - 1e-9)])
    return Choice(*(np.sort(part).astype(np.int64) for part in (top, random, skipped)))
