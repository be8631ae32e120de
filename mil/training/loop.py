"""The loop that trains every head for every task: seeded, on the CPU, the same bits each time."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mil.errors import LabelError
from mil.head import Head
from mil.training.coteaching import exchange, kept_share
from mil.training.drawing import Cases, Drawer
from mil.training.goal import Goal
from mil.training.schedule import step_size
from mil.training.scoring import logits_in_batches
from mil.training.student import Student

Report = Callable[[int, float], None]
"""Told each epoch and its validation loss; may raise to end the fit."""


@dataclass(frozen=True, eq=False)
class Trained:
    """How a fit went."""

    metrics: dict[str, float]
    """Losses of the epoch that was kept, and which it was."""
    history: tuple[dict[str, float], ...]
    """Losses of every epoch."""


class Loop:
    """One fit under way.

    Args:
        head: With the standardiser set; holds the kept weights after `run`.
        train: What is learnt from.
        held: What chooses the epoch; may be empty.
        goal: What is minimised, and how.
        twin: Another head that is taught beside it and chooses what it learns, where labels are noisy.
    """

    def __init__(self, head: Head, train: Cases, held: Cases, goal: Goal, twin: Head | None = None) -> None:
        self.held, self.goal, self.spec = held, goal, goal.enough
        self.student = Student(head, goal, goal.objective)
        self.twin = None if twin is None else Student(twin, goal, copy.deepcopy(goal.objective))
        self.drawer = Drawer(train, goal, head.scale)
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
        history, state = [], copy.deepcopy(self.student.head.state_dict())
        for epoch in range(1, self.spec.epochs + 1):
            figures = {"epoch": float(epoch), "train_loss": self.epoch(epoch)}
            if watched:
                figures["validation_loss"] = self.judge()
            if not np.isfinite(list(figures.values())).all():
                raise LabelError(f"The loss of epoch {epoch} is not a number: the step or the targets are too large.")
            history.append(figures)
            if report is not None and watched:
                report(epoch, figures["validation_loss"])
            if not watched or figures["validation_loss"] < lowest:
                best, lowest = figures, figures.get("validation_loss", lowest)
                state = copy.deepcopy(self.student.average.average.state_dict())
            elif epoch >= self.spec.min_epochs and epoch - best["epoch"] >= self.spec.patience:
                break
        self.student.head.load_state_dict(state)
        return Trained(best, tuple(history))

    def epoch(self, number: int) -> float:
        """Learn from every case once.

        Args:
            number: From 1.

        Returns:
            The mean loss of the head.
        """
        for student in (self.student, self.twin):
            if student is not None:
                student.head.train()
        return float(np.mean([self.step(rows, counts, number) for rows, counts in self.drawer.sampler.epoch()]))

    def step(self, rows: NDArray[np.int64], counts: NDArray[np.int64], epoch: int = 1) -> float:
        """Learn from one batch.

        Args:
            rows: Cases [B].
            counts: Tiles to draw of each [B].
            epoch: From 1.

        Returns:
            The loss of the head.
        """
        batch = self.drawer.batch(rows, counts)
        lr = step_size(self.spec, self.steps, self.spec.epochs * self.drawer.sampler.steps)
        self.steps += 1
        if self.twin is None:
            return self.student.learn(batch, lr)
        share, known = kept_share(self.goal.coteaching, epoch), self.goal.task.known(batch.targets)
        mine, other = exchange(self.student.losses(batch), self.twin.losses(batch), known, share)
        self.twin.learn(batch.rows(other), lr)
        return self.student.learn(batch.rows(mine), lr)

    @torch.no_grad()
    def judge(self) -> float:
        """Loss of the averaged weights on the validation cases, all their tiles, all cases at once.

        Returns:
            The mean.
        """
        logits = logits_in_batches(self.student.average.average, self.held.cohort)
        return float(self.student.bag_loss(torch.from_numpy(self.held.targets), logits, judging=True))
