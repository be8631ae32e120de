"""Proportional hazards: one logit, the log hazard ratio; Cox's partial likelihood with Efron's treatment of ties."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mil.tasks.follow_up import FollowUp


@dataclass(frozen=True)
class Cox(FollowUp):
    """Cox 1972, Regression models and life-tables; ties as in Efron 1977.

    The risk sets are those of the batch, so batches should hold many cases: a batch of one teaches nothing.
    """

    @property
    def outputs(self) -> int:
        """One logit."""
        return 1

    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Each event's share of the negative log partial likelihood, 0 for the censored.

        Args:
            logits: [B, 1].
            targets: Time and event [B, 2].

        Returns:
            [B]; their sum is -sum over events of (r_i - log sum over those at risk of exp r_j), and events of one time
            share their sum evenly.
        """
        known = self.known(targets)
        risk, time = logits[:, 0].float(), torch.where(known, targets[:, 0], -1.0)
        event = known & (targets[:, 1] == 1)
        at_risk = time[None, :] >= time[:, None]  # [B, B]: j is at risk when i ends; who is not known, never
        tied = event & (time[None, :] == time[:, None])  # [B, B]: j has its event when i ends
        own = torch.eye(len(time), dtype=torch.bool, device=time.device)
        whole = _log_sum(risk, at_risk | own)  # a row never is empty, so that no gradient is NaN
        ties = _log_sum(risk, tied | own)
        earlier = tied.tril(-1).sum(dim=1)  # [B]: events of the same time that stand before i
        count = tied.sum(dim=1).clamp(min=1)
        share = torch.where(event, earlier / count, 0.0)
        each = whole + torch.log1p(-share * (ties - whole).clamp(max=0.0).exp())
        even = (torch.where(tied, each[None, :], 0.0).sum(dim=1)) / count
        return torch.where(event, even - torch.where(tied, risk[None, :], 0.0).sum(dim=1) / count, 0.0)

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """The log hazard ratio against a case of logit 0: this task knows no probabilities.

        Args:
            logits: [cases, 1].

        Returns:
            [cases, 1].
        """
        return logits.astype(np.float64)

    def score(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """The log hazard ratio.

        Args:
            logits: [cases, 1].

        Returns:
            [cases].
        """
        return logits[:, 0].astype(np.float64)


def _log_sum(risk: Tensor, members: Tensor) -> Tensor:
    return risk.expand(len(risk), -1).masked_fill(~members, -torch.inf).logsumexp(dim=1)
