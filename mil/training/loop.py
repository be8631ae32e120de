"""The loop that trains every head for every task: seeded, on the CPU, the same bits each time."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mil.batch import collate
from mil.cohort.cohort import Cohort
from mil.errors import LabelError
from mil.head import Head
from mil.tasks.cox import Cox
from mil.tasks.task import Task
from mil.training.ema import Ema
from mil.training.objective import Objective
from mil.training.sampling import Sampler
from mil.training.schedule import step_size
from mil.training.scoring import logits_in_batches
from mil.training.spec import TrainSpec

Report = Callable[[int, float], None]
"""Told each epoch and its validation loss; may raise to end the fit."""


@dataclass(frozen=True, eq=False)
class Cases:
    """Cases and what is to be learnt of them."""

    cohort: Cohort
    targets: NDArray[np.float32]
    """[cases, T]."""


@dataclass(frozen=True, eq=False)
class Trained:
    """How a fit went."""

    metrics: dict[str, float]
    """Losses of the epoch that was kept, and which it was."""
    history: tuple[dict[str, float], ...]
    """Losses of every epoch."""


RISK_SET = 64
"""Least cases a step of Cox regression, which compares the cases of a batch: of 64 some ten die first of a few left."""


def enough(task: Task, spec: TrainSpec) -> TrainSpec:
    """See that a batch is large enough to teach anything.

    Args:
        task: What is learnt.
        spec: How.

    Returns:
        The same, with a larger batch where the task needs it.
    """
    compares = any(isinstance(part.task, Cox) for part in task.parts)
    return replace(spec, batch=max(spec.batch, RISK_SET)) if compares else spec


class Loop:
    """One fit under way.

    Args:
        head: With the standardiser set; holds the kept weights after `run`.
        train: What is learnt from.
        held: What chooses the epoch; may be empty.
        task: Which targets there are.
        objective: What is minimised.
        spec: How.
        seed: Of order, drawn tiles and noise.
    """

    def __init__(
        self, head: Head, train: Cases, held: Cases, *, task: Task, objective: Objective, spec: TrainSpec, seed: int
    ) -> None:
        self.head, self.train, self.held = head, train, held
        self.task, self.objective, self.spec = task, objective, enough(task, spec)
        self.rng = np.random.default_rng(seed)
        self.noise = torch.Generator().manual_seed(seed)
        self.sampler = Sampler(train.cohort.sizes(), self.spec, self.rng, objective.draw)
        self.parameters = [*head.parameters(), *objective.parameters()]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=spec.lr, weight_decay=spec.weight_decay)
        self.average = Ema(head, spec.ema)
        self.steps = 0

    def run(self, report: Report | None = None) -> Trained:
        """Train until the validation loss no longer falls, and keep the weights of its lowest epoch.

        Without validation cases every epoch is trained, and the last one's weights are kept.

        Args:
            report: Told how it goes.

        Returns:
            How it went.

        Raises:
            LabelError: The loss is not a number: the targets or the step are out of all bounds.
        """
        watched = len(self.held.cohort) > 0
        best, lowest = {"epoch": 0.0}, float("inf")
        history, state = [], copy.deepcopy(self.head.state_dict())
        for epoch in range(1, self.spec.epochs + 1):
            figures = {"epoch": float(epoch), "train_loss": self.epoch()}
            if watched:
                figures["validation_loss"] = self.judge()
            if not np.isfinite(list(figures.values())).all():
                raise LabelError(f"The loss of epoch {epoch} is not a number: the step or the targets are too large.")
            history.append(figures)
            if report is not None and watched:
                report(epoch, figures["validation_loss"])
            if not watched or figures["validation_loss"] < lowest:
                best, lowest = figures, figures.get("validation_loss", lowest)
                state = copy.deepcopy(self.average.average.state_dict())
            elif epoch >= self.spec.min_epochs and epoch - best["epoch"] >= self.spec.patience:
                break
        self.head.load_state_dict(state)
        return Trained(best, tuple(history))

    def epoch(self) -> float:
        """Learn from every case once.

        Returns:
            The mean loss.
        """
        self.head.train()
        losses = [self.step(rows, counts) for rows, counts in self.sampler.epoch()]
        return float(np.mean(losses))

    def step(self, rows: NDArray[np.int64], counts: NDArray[np.int64]) -> float:
        """Learn from one batch.

        Args:
            rows: Cases [B].
            counts: Tiles to draw of each [B].

        Returns:
            The loss.
        """
        targets = torch.from_numpy(self.train.targets[rows])
        features, mask = self.batch(rows, counts)
        loss = self.head.objective(features, mask, partial(self.bag_loss, targets), self.task.one_hot(targets))
        for group in self.optimizer.param_groups:
            group["lr"] = step_size(self.spec, self.steps, self.spec.epochs * self.sampler.steps)
        self.optimizer.zero_grad()
        loss.backward()
        if self.spec.clip:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.spec.clip)
        self.optimizer.step()
        self.average.step()
        self.steps += 1
        return float(loss.detach())

    def batch(self, rows: NDArray[np.int64], counts: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Read the drawn tiles.

        Args:
            rows: Cases [B].
            counts: Tiles to draw of each [B].

        Returns:
            Features [B, N, D] with noise, and mask [B, N].
        """
        drawn = zip(rows.tolist(), counts.tolist(), strict=True)
        features, mask = collate([self.train.cohort.features(row, self.sampler.tiles(row, n)) for row, n in drawn])
        if self.spec.noise:
            spread = torch.empty_like(features).normal_(0, self.spec.noise, generator=self.noise)
            features = torch.addcmul(features, spread, self.head.scale)
        return features, mask

    def bag_loss(self, targets: Tensor, logits: Tensor) -> Tensor:
        """Mean loss of the cases that say anything.

        Args:
            targets: [B, T].
            logits: [B, C].

        Returns:
            A scalar.
        """
        return self.objective.losses(logits, targets).sum() / self.task.known(targets).sum().clamp(min=1)

    @torch.no_grad()
    def judge(self) -> float:
        """Loss of the averaged weights on the validation cases, all their tiles, all cases at once.

        Returns:
            The mean.
        """
        logits = logits_in_batches(self.average.average, self.held.cohort)
        return float(self.bag_loss(torch.from_numpy(self.held.targets), logits))
