"""The average of the weights over the steps of training, which varies less than the weights do.

Polyak & Juditsky, "Acceleration of Stochastic Approximation by Averaging", SIAM J. Control Optim. 30(4), 1992; with
exponential forgetting: average <- decay * average + (1 - decay) * weights.
"""

from __future__ import annotations

import copy

import torch

from mil.head import Head


class Ema:
    """Follows a head that is being trained.

    Args:
        head: The head.
        decay: How much of the average a step keeps; 0 follows the head exactly.
    """

    def __init__(self, head: Head, decay: float) -> None:
        self.head, self.decay, self.steps = head, decay, 0
        self.average = copy.deepcopy(head).eval()

    @torch.no_grad()
    def step(self) -> None:
        """Take the weights of the head in; the first steps forget faster, so that random weights do not linger."""
        self.steps += 1
        share = 1 - min(self.decay, self.steps / (self.steps + 9)) if self.decay else 1.0
        for mean, value in zip(self.average.parameters(), self.head.parameters(), strict=True):
            mean.lerp_(value, share)
