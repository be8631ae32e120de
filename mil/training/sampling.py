"""Which cases and which of their tiles each step of an epoch sees."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mil.training.spec import TrainSpec

BLOCK = 16
"""Batches among which cases are put beside others of their size, so that little is padded ..."""
BLOCKS = 4
"""... and of which there are so many at least, so that small cohorts are mixed too."""


class Sampler:
    """Draws cases and tiles for training.

    Args:
        sizes: Tiles of each case [cases].
        spec: `batch`, `tiles` and `keep` are used.
        rng: All chance comes from it.
        draw: Probability of each case, sampled with replacement; None takes each once an epoch.
    """

    def __init__(
        self,
        sizes: NDArray[np.int64],
        spec: TrainSpec,
        rng: np.random.Generator,
        draw: NDArray[np.float64] | None = None,
    ) -> None:
        self.sizes, self.spec, self.rng, self.draw = sizes, spec, rng, draw
        self.most = np.minimum(sizes, spec.tiles)
        self.least = np.clip(np.rint(spec.keep * sizes).astype(np.int64), 1, self.most)

    @property
    def once(self) -> int:
        """Batches that hold every case once."""
        return max(1, round(len(self.sizes) / self.spec.batch))

    @property
    def passes(self) -> int:
        """How often an epoch goes through the cases: few cases several times."""
        return math.ceil(self.spec.steps / self.once)

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return self.once * self.passes

    def epoch(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Go through the cases, each time in another order and with other tiles.

        Yields:
            Rows of the cases of a batch [B], and how many tiles of each are drawn [B].
        """
        for _ in range(self.passes):
            yield from self._pass()

    def _pass(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        order = self._order()
        counts = self.rng.integers(self.least[order], self.most[order] + 1)
        parts = max(min(BLOCKS, self.once), self.once // BLOCK)
        blocks = np.array_split(np.arange(len(order)), parts)
        near = np.concatenate([block[np.argsort(counts[block], kind="stable")] for block in blocks])
        batches = np.array_split(near, self.once)
        for chosen in self.rng.permutation(len(batches)):
            yield order[batches[chosen]], counts[batches[chosen]]

    def tiles(self, row: int, count: int) -> NDArray[np.int64] | None:
        """Draw tiles of a case.

        Args:
            row: Which case.
            count: How many.

        Returns:
            Their numbers, ascending [count]; None for all of them.
        """
        size = int(self.sizes[row])
        if count >= size:
            return None
        return np.sort(self.rng.choice(size, count, replace=False, shuffle=False))

    def _order(self) -> NDArray[np.int64]:
        if self.draw is None:
            return self.rng.permutation(len(self.sizes))
        return self.rng.choice(len(self.sizes), len(self.sizes), p=self.draw)
