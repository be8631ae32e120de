"""One head that learns: its objective, its optimiser, and the average of its weights."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from mil.head import Head
from mil.tasks.decisions import Decisions
from mil.training.drawing import Batch
from mil.training.ema import Ema
from mil.training.goal import Goal
from mil.training.objective import Objective
from mil.training.region_loss import region_loss


class Student:
    """A head under way.

    Args:
        head: With the standardiser set.
        goal: What is minimised, and how.
        objective: The goal's, or a twin's own copy of it; its weights, if it has any, are learnt with the head's.
    """

    def __init__(self, head: Head, goal: Goal, objective: Objective) -> None:
        self.head, self.goal, self.objective, self.spec = head, goal, objective, goal.enough
        self.parameters = [*head.parameters(), *objective.parameters()]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=self.spec.lr, weight_decay=self.spec.weight_decay)
        self.average = Ema(head, self.spec.ema)

    def learn(self, batch: Batch, lr: float) -> float:
        """Take one step.

        Args:
            batch: What from.
            lr: Length of the step.

        Returns:
            The loss.
        """
        loss = self.loss(batch)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.zero_grad()
        loss.backward()
        if self.spec.clip:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.spec.clip)
        self.optimizer.step()
        self.average.step()
        return float(loss.detach())

    def loss(self, batch: Batch) -> Tensor:
        """What is minimised: the head's own objective and, where tiles are annotated, what these add.

        Args:
            batch: What from.

        Returns:
            A scalar.
        """
        targets, task = batch.targets, self.goal.task
        bag_loss = partial(self.bag_loss, targets)
        loss = self.head.objective(batch.features, batch.mask, bag_loss, task.one_hot(targets))
        if batch.tiles is None or not isinstance(task, Decisions):
            return loss
        parts, spec = (self.head, batch.features, batch.mask), self.goal.regions
        return loss + region_loss(*parts, task=task, bags=targets, tiles=batch.tiles, spec=spec)

    def bag_loss(self, targets: Tensor, logits: Tensor, *, judging: bool = False) -> Tensor:
        """Mean loss of the cases that say anything.

        Args:
            targets: [B, T].
            logits: [B, C].
            judging: As `Objective.losses` takes it.

        Returns:
            A scalar.
        """
        losses = self.objective.losses(logits, targets, judging=judging)
        return losses.sum() / self.goal.task.known(targets).sum().clamp(min=1)

    @torch.no_grad()
    def losses(self, batch: Batch) -> Tensor:
        """What each case would cost now.

        Args:
            batch: The cases.

        Returns:
            [B].
        """
        return self.objective.losses(self.head(batch.features, batch.mask).logits, batch.targets)
