"""Survival in intervals of time: one logit an interval, the hazard there (Zadeh & Schmid 2020)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mil.errors import ExperimentError, LabelError
from mil.tasks.follow_up import FollowUp


@dataclass(frozen=True)
class Hazard(FollowUp):
    """Bias in cross-entropy-based training of deep survival networks, without that bias where `alpha` is 0."""

    bins: int = 4
    """Intervals; four, as in the pathology literature: events are few."""
    alpha: float = 0.0
    """Share of the censored cases' loss that is left out."""
    edges: tuple[float, ...] = ()
    """End of each interval, in the unit of `time`, settled by `fit_to`; kept so that S(t) can be told at any time."""

    def __post_init__(self) -> None:
        """Refuse intervals that are none.

        Raises:
            ExperimentError: Too few of them, a share that is none, or ends that do not rise.
        """
        super().__post_init__()
        if self.bins < 2 or not 0 <= self.alpha <= 1:
            raise ExperimentError("A hazard task needs at least two bins and an alpha from 0 to 1.")
        rising = all(low < high for low, high in zip((0.0, *self.edges), self.edges, strict=False))
        if self.edges and (len(self.edges) != self.bins or not rising):
            raise ExperimentError("The edges of a hazard task must be one a bin, and rise from above 0.")

    @property
    def outputs(self) -> int:
        """One logit an interval."""
        return self.bins

    def fit_to(self, targets: NDArray[np.float32]) -> Hazard:
        """Cut time at the quantiles of the events; the last interval ends where follow-up ends.

        Args:
            targets: Of the training cases [cases, 2].

        Returns:
            The task with its edges.

        Raises:
            LabelError: There are too few different times of events for so many intervals.
        """
        self.check(targets)
        known = targets[~np.isnan(targets).any(axis=1)].astype(np.float64)
        cuts = np.quantile(known[known[:, 1] == 1, 0], np.arange(1, self.bins) / self.bins)
        edges = np.concatenate([cuts, [known[:, 0].max()]])
        if (np.diff(edges, prepend=0.0) <= 0).any():
            raise LabelError(f"Column {self.time} has too few different times of events for {self.bins} intervals.")
        return replace(self, edges=tuple(edges.tolist()))

    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Negative log likelihood: of surviving all intervals before the event's and dying in it, or of surviving.

        Args:
            logits: [B, C].
            targets: Time and event [B, 2].

        Returns:
            [B].

        Raises:
            ExperimentError: The edges have not been settled.
        """
        if not self.edges:
            raise ExperimentError("The intervals of a hazard task must be settled by fit_to before its losses.")
        known = self.known(targets)
        time, event = torch.where(known, targets[:, 0], 0.0), targets[:, 1] == 1
        row = torch.bucketize(time, time.new_tensor(self.edges[:-1]), right=True)[:, None]  # [B, 1]; time < edge
        lived = functional.logsigmoid(-logits.float()).cumsum(dim=1)  # log S at the end of each interval [B, C]
        died = functional.logsigmoid(logits.float())
        until = functional.pad(lived, (1, 0))  # log S at its start [B, C + 1]
        dead = -(until.gather(1, row) + died.gather(1, row))[:, 0]
        alive = -(1 - self.alpha) * lived.gather(1, row)[:, 0]
        return torch.where(known, torch.where(event, dead, alive), 0.0)

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Probability of surviving each interval.

        Args:
            logits: [cases, C].

        Returns:
            [cases, C], never rising along a row.
        """
        return np.asarray(np.exp(-np.cumsum(np.logaddexp(0.0, logits.astype(np.float64)), axis=1)))

    def survival(self, logits: NDArray[np.float32], times: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probability of surviving to given times; the hazard is taken as constant within an interval.

        Args:
            logits: [cases, C].
            times: 0 or more, in the unit of the time column [H].

        Returns:
            [cases, H]; NaN beyond the last edge, of which nothing is known.
        """
        logs = np.pad(-np.cumsum(np.logaddexp(0.0, logits.astype(np.float64)), axis=1), ((0, 0), (1, 0)))
        ends = np.array([0.0, *self.edges])
        return np.asarray(np.exp([np.interp(times, ends, row, right=np.nan) for row in logs])).reshape(len(logs), -1)

    def score(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Minus the expected number of intervals survived.

        Args:
            logits: [cases, C].

        Returns:
            [cases].
        """
        return np.asarray(-self.probabilities(logits).sum(axis=1))
