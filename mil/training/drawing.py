"""From drawn cases to a batch of tensors: tiles read, noise added, annotated tiles among them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mil.batch import collate
from mil.cohort.cohort import Cohort
from mil.training.goal import Goal
from mil.training.region_loss import draw_tiles
from mil.training.regions import Marks
from mil.training.sampling import Sampler

NOISE = 1 << 22
"""Numbers drawn once a fit, of which each batch takes another stretch: fresh ones cost a tenth of an epoch."""


@dataclass(frozen=True, eq=False)
class Cases:
    """Cases and what is to be learnt of them."""

    cohort: Cohort
    targets: NDArray[np.float32]
    """[cases, T]."""
    marks: tuple[Marks | None, ...] = ()
    """Annotated tiles of each case; () where no region is labelled."""


@dataclass(frozen=True, eq=False)
class Batch:
    """What one step learns from."""

    features: Tensor
    """Raw embeddings, with noise [B, N, D]."""
    mask: Tensor
    """bool [B, N]."""
    targets: Tensor
    """[B, T]."""
    tiles: Tensor | None = None
    """Targets of the tiles [B, N, T], NaN where one is not annotated; None where no region is labelled."""

    def rows(self, chosen: Tensor) -> Batch:
        """Some of the cases.

        Args:
            chosen: bool [B].

        Returns:
            A batch of these.
        """
        tiles = None if self.tiles is None else self.tiles[chosen]
        return Batch(self.features[chosen], self.mask[chosen], self.targets[chosen], tiles)


class Drawer:
    """Reads what the sampler draws.

    Args:
        cases: All cases of training.
        goal: `enough`, `seed`, `regions` and the objective's `draw` are used.
        scale: Deviation of each feature over the training cases [D].
    """

    def __init__(self, cases: Cases, goal: Goal, scale: Tensor) -> None:
        self.cases, self.goal, self.scale = cases, goal, scale
        rng = np.random.default_rng(goal.seed)
        self.sampler = Sampler(cases.cohort.sizes(), goal.enough, rng, goal.objective.draw)
        self.chance = torch.Generator().manual_seed(goal.seed)
        self.noise = goal.spec.noise * torch.randn(NOISE if goal.spec.noise else 0, generator=self.chance)

    def batch(self, rows: NDArray[np.int64], counts: NDArray[np.int64]) -> Batch:
        """Read the drawn tiles of some cases and add noise.

        Args:
            rows: Cases [B].
            counts: Tiles to draw of each [B].

        Returns:
            The batch.
        """
        drawn, marked = [], []
        for row, count in zip(rows.tolist(), counts.tolist(), strict=True):
            tiles, truth = self._tiles(row, count)
            drawn.append(self.cases.cohort.features(row, tiles))
            marked.append(truth)
        features, mask = collate(drawn)
        if self.goal.spec.noise:
            features = torch.addcmul(features, self._noise(features.shape), self.scale)
        targets = torch.from_numpy(self.cases.targets[rows])
        return Batch(features, mask, targets, _padded(marked, mask) if self.cases.marks else None)

    def _noise(self, shape: torch.Size) -> Tensor:
        """Another stretch of the noise that was drawn, or fresh noise where a batch is longer."""
        spare = len(self.noise) - shape.numel()
        if spare < 0:
            return self.goal.spec.noise * torch.randn(shape, generator=self.chance)
        start = int(torch.randint(spare + 1, (1,), generator=self.chance))
        return self.noise[start : start + shape.numel()].view(shape)

    def _tiles(self, row: int, count: int) -> tuple[NDArray[np.int64] | None, NDArray[np.float32]]:
        """Which tiles, and what those that are annotated are labelled with."""
        marks = self.cases.marks[row] if self.cases.marks else None
        if marks is not None:
            return draw_tiles(int(self.sampler.sizes[row]), count, marks, self.sampler.rng, self.goal.regions.share)
        return self.sampler.tiles(row, count), np.zeros((0, self.cases.targets.shape[1]), np.float32)


def _padded(marked: list[NDArray[np.float32]], mask: Tensor) -> Tensor:
    tiles = torch.full((*mask.shape, marked[0].shape[1]), torch.nan)
    for row, truth in zip(tiles, marked, strict=True):
        row[: len(truth)] = torch.from_numpy(truth)
    return tiles
