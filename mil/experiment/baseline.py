"""The model that every head must beat: a linear one on the mean and deviation of the tiles, ridge-penalised.

For a yes or no it is logistic regression, for classes multinomial regression, for survival a Cox or hazard regression,
each with the loss of the task itself: minimise mean loss + |w|^2 / (2 C n), n cases. C is chosen by cross-validation
inside the training cases.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save
from torch import Tensor

from mil.cohort.cohort import Cohort
from mil.errors import CheckpointError
from mil.tasks.task import Task
from mil.training.pooled import CONSTANT, Pooled, pool_cohort

GRID: Final = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Values of C that are tried: slides are few and features many, so small ones."""
STEPS: Final = 100
"""Of L-BFGS, at most."""
WEIGHTS: Final = "baseline.safetensors"
Loss = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Baseline:
    """A fitted linear model."""

    weights: NDArray[np.float64]
    """[2 D, C]."""
    bias: NDArray[np.float64]
    """[C]."""
    mean: NDArray[np.float64]
    """Of the pooled features of the training cases [2 D]."""
    scale: NDArray[np.float64]
    """Their deviation [2 D]."""
    strength: NDArray[np.float64]
    """The C that was chosen [1]."""

    def of(self, pooled: Pooled) -> NDArray[np.float32]:
        """Score pooled cases.

        Args:
            pooled: Of any cases.

        Returns:
            [N, C].
        """
        standard = (pooled.features - self.mean) / self.scale
        return (standard @ self.weights + self.bias).astype(np.float32)

    def logits(self, cohort: Cohort) -> NDArray[np.float32]:
        """Score cases on all their tiles.

        Args:
            cohort: Any cases.

        Returns:
            [N, C].
        """
        return self.of(pool_cohort(cohort))

    def save(self, folder: Path) -> None:
        """Write the numbers into a folder that is being built.

        Args:
            folder: Made if it is not there.
        """
        folder.mkdir(parents=True, exist_ok=True)
        (folder / WEIGHTS).write_bytes(save({name: np.ascontiguousarray(value) for name, value in vars(self).items()}))

    @classmethod
    def load(cls, folder: Path) -> Baseline:
        """Read what `save` wrote.

        Args:
            folder: The same.

        Returns:
            The model.

        Raises:
            CheckpointError: It is no such model.
        """
        try:
            return cls(**load((folder / WEIGHTS).read_bytes()))
        except (OSError, SafetensorError, TypeError) as error:
            raise CheckpointError("The linear model of the run cannot be read.") from error


def fit_baseline(task: Task, pooled: Pooled, targets: NDArray[np.float32], inner: NDArray[np.int64]) -> Baseline:
    """Fit with the C whose held-out loss is lowest.

    Args:
        task: Settled; its losses are used as they are, without weights.
        pooled: Of the training cases.
        targets: Of the training cases [N, T].
        inner: The inner fold of each training case [N]; patients are not split.

    Returns:
        The model, fitted to all training cases.
    """
    features = pooled.features
    losses = np.zeros(len(GRID))
    for fold in np.unique(inner):
        held = inner == fold
        for place, model in enumerate(_path(task, features[~held], targets[~held], GRID)):
            standard = torch.from_numpy((features[held] - model.mean) / model.scale @ model.weights + model.bias)
            losses[place] += float(_mean_loss(task, standard, torch.from_numpy(targets[held]))) * held.sum()
    best = int(np.argmin(losses))
    return _path(task, features, targets, GRID[: best + 1])[-1]


def _path(
    task: Task, features: NDArray[np.float64], targets: NDArray[np.float32], grid: tuple[float, ...]
) -> list[Baseline]:
    """Fit from the strongest penalty to the weakest, each from where the last ended."""
    mean, variance = features.mean(axis=0), features.var(axis=0)
    scale = np.where(variance > CONSTANT, np.sqrt(variance), 1.0)
    standard, truth = torch.from_numpy((features - mean) / scale), torch.from_numpy(targets)
    weights = torch.zeros(features.shape[1], task.outputs, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(task.outputs, dtype=torch.float64, requires_grad=True)
    models = []
    for strength in grid:

        def objective(penalty: float = 0.5 / (strength * len(features))) -> Tensor:
            return _mean_loss(task, standard @ weights + bias, truth) + penalty * weights.square().sum()

        _minimise(objective, [weights, bias])
        found = (weights.detach().numpy().copy(), bias.detach().numpy().copy())
        models.append(Baseline(*found, mean, scale, np.array([strength])))
    return models


def _mean_loss(task: Task, logits: Tensor, targets: Tensor) -> Tensor:
    return task.losses(logits, targets).double().sum() / task.known(targets).sum().clamp(min=1)


def _minimise(objective: Callable[[], Tensor], parameters: list[Tensor]) -> None:
    optimizer = torch.optim.LBFGS(
        parameters, max_iter=STEPS, tolerance_grad=1e-6, tolerance_change=1e-9, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = objective()
        loss.backward()
        return loss

    optimizer.step(closure)
