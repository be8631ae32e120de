"""What is minimised: the losses of a task with the remedies for rare classes and wrong labels that were asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mil.errors import ExperimentError
from mil.tasks.decisions import Decisions, mean_known
from mil.tasks.task import Task
from mil.training.imbalance import balanced_draw, class_weights, log_priors
from mil.training.noise import penalty, soften


@dataclass(frozen=True)
class ObjectiveSpec:
    """Remedies for rare classes and wrong labels; without any, the losses of the task are minimised as they stand."""

    imbalance: Literal["none", "weights", "focal", "balanced", "logit_adjustment"] = "none"
    """Against classes of unlike size, one at a time: they do the same thing, and two would do it twice."""
    gamma: float = 2.0
    """Exponent of the focal loss, the one of its paper; used with `focal` alone."""
    tau: float = 1.0
    """Strength of logit adjustment: 1 aims at the balanced error (Menon et al. 2021)."""
    smoothing: float = 0.0
    """Share of certainty that is taken from a label and spread over all classes; .05 to .1 where labels are noisy."""
    gce: float = 0.0
    """q of generalised cross-entropy: 0 is cross-entropy, .7 the value of its paper, 1 the mean absolute error."""

    def __post_init__(self) -> None:
        """Refuse values that mean nothing, and two losses at once.

        Raises:
            ExperimentError: A value is out of its range, or focal and generalised cross-entropy are both wanted.
        """
        if self.gamma <= 0 or self.tau <= 0 or not 0 <= self.smoothing < 1 or not 0 <= self.gce <= 1:
            raise ExperimentError("gamma and tau must be above 0, smoothing from 0 to below 1 and gce from 0 to 1.")
        if self.imbalance == "focal" and self.gce:
            raise ExperimentError("Focal loss and generalised cross-entropy are two losses; choose one.")

    @property
    def plain(self) -> bool:
        """Whether the losses of the task serve as they stand."""
        return self.imbalance == "none" and not self.smoothing and not self.gce


class _Softened(nn.Module):
    """The losses of one task of decisions with the remedies applied."""

    weights: Tensor
    shift: Tensor

    def __init__(self, task: Decisions, spec: ObjectiveSpec, train: NDArray[np.float32]) -> None:
        super().__init__()
        self.task, self.spec = task, spec
        truth = task.truth(torch.from_numpy(train)).numpy()
        classes = task.log_probabilities(torch.zeros(1, task.outputs)).shape[2]
        even, none = np.ones((truth.shape[1], classes)), np.zeros((truth.shape[1], classes))
        weights = class_weights(truth, classes) if spec.imbalance == "weights" else even
        shift = spec.tau * log_priors(truth, classes) if spec.imbalance == "logit_adjustment" else none
        self.register_buffer("weights", torch.from_numpy(weights).float())  # [L, K]
        self.register_buffer("shift", torch.from_numpy(shift).float())  # [L, K]

    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        truth = self.task.truth(targets)  # [B, L]
        log_p = (self.task.log_probabilities(logits) + self.shift).log_softmax(dim=2)  # [B, L, K]
        gamma = self.spec.gamma if self.spec.imbalance == "focal" else 0.0
        cost = penalty(log_p, gamma, self.spec.gce) * self.weights
        each = (soften(truth, cost.shape[2], self.spec.smoothing) * cost).sum(dim=2)
        return mean_known(each, truth >= 0)


class Objective(nn.Module):
    """Losses of a task with remedies; a module because weights of several tasks may be learnt.

    Its parameters, if it has any, belong into the optimiser beside the head's. Early stopping judges by it too,
    but with the weights of tasks as they are given: learnt ones would put two epochs in different terms.
    """

    def __init__(self, task: Task, spec: ObjectiveSpec, train: NDArray[np.float32]) -> None:
        super().__init__()
        self.parts = task.parts
        self.draw = balanced_draw(task.strata(train)) if spec.imbalance == "balanced" else None
        """Probability with which each training case should be drawn, 1 in sum; None where all are alike."""
        softened = [
            _Softened(part.task, spec, train[:, part.targets])
            if isinstance(part.task, Decisions) and not spec.plain
            else None
            for part in self.parts
        ]
        self.remedies = nn.ModuleList(each for each in softened if each is not None)
        self.each = tuple(own or part.task for own, part in zip(softened, self.parts, strict=True))
        count = len(self.parts) if task.learns_weights else 0
        self.log_variances = nn.Parameter(torch.zeros(count)) if count else None

    def losses(self, logits: Tensor, targets: Tensor, *, judging: bool = False) -> Tensor:
        """The loss of each case.

        Args:
            logits: [B, C].
            targets: [B, T]; NaN where missing.
            judging: Take the weights of tasks as they are given, where they are learnt.

        Returns:
            [B]; exactly 0, without a gradient, where the case says nothing. Learnt weights: exp(-s) times the loss plus
            s / 2, s the logarithm of a variance a task, where the task knows the case.
        """
        whole = logits.new_zeros(len(logits), dtype=torch.float32)
        for i, (part, remedy) in enumerate(zip(self.parts, self.each, strict=True)):
            own, truth = logits[:, part.logits], targets[:, part.targets]
            each = remedy.losses(own, truth)
            if self.log_variances is None or judging:
                whole = whole + part.weight * each
            else:
                level = self.log_variances[i]
                whole = whole + torch.where(part.task.known(truth), (-level).exp() * each + level / 2, 0.0)
        return whole


def build_objective(task: Task, spec: ObjectiveSpec, train_targets: NDArray[np.float32]) -> Objective:
    """Make what is minimised.

    Args:
        task: The task, settled by `fit_to`.
        spec: The remedies.
        train_targets: Of the training cases alone [cases, T]: frequencies are theirs.

    Returns:
        The objective.

    Raises:
        ExperimentError: A remedy is for classes, and the task has none.
    """
    if not spec.plain and not any(isinstance(part.task, Decisions) for part in task.parts):
        raise ExperimentError(
            f"A task of {task.kind} has no classes, so imbalance, smoothing and gce must be left as they are."
        )
    return Objective(task, spec, train_targets)
