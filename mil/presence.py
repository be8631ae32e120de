"""Presence of concepts, and a read-out of it that can only rise: the two parts of a head that respects the assumption.

Raff and Holt, NeurIPS 2023, arXiv:2310.17867, show that a head which is free to weigh tiles against each other learns
from what is absent. Here each concept k has a probability P_k that it is anywhere on the slide, which one more tile can
only raise, and the logit is bias + sum_k w_k P_k with w_k >= 0. One concept is the standard assumption; with several
the sum is a threshold: any of them, all of them, or so many of them (the presence and threshold assumptions of Foulds
and Frank, "A review of multi-instance learning assumptions", Knowledge Engineering Review 2010).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

START = 4.0
"""Sum of the weights of a fresh read-out: logits then reach from -2 to 2, where a loss is steep."""


class Presence(nn.Module):
    """Logits of the presence of concepts, never falling in any of them."""

    def __init__(self, concepts: int, out_dim: int) -> None:
        super().__init__()
        start = torch.full((out_dim, concepts), START / concepts).expm1().log()  # [C, K]; softplus undoes it
        self.raw = nn.Parameter(start)
        self.bias = nn.Parameter(torch.full((out_dim,), -START / 2))

    @property
    def weight(self) -> Tensor:
        """What each concept is worth to each class, not negative [C, K]."""
        return functional.softplus(self.raw)

    def forward(self, presence: Tensor) -> Tensor:
        """Read out.

        Args:
            presence: Probability of each concept, 0 to 1 [..., K].

        Returns:
            Logits [..., C].
        """
        return functional.linear(presence, self.weight, self.bias)  # [..., C]

    def parts(self, presence: Tensor, share: Tensor) -> Tensor:
        """Divide the logits among the tiles.

        Args:
            presence: Of each concept on the slide [B, K].
            share: What each tile did for each concept [B, N, K], 1 in sum over the tiles.

        Returns:
            [B, N, C]; with the bias they sum to the logits.
        """
        return (share * presence[:, None]) @ self.weight.T  # [B, N, C]

    def attention(self, share: Tensor) -> Tensor:
        """How much of all evidence came from each tile.

        Args:
            share: As for `parts` [B, N, K].

        Returns:
            [B, N], 1 in sum; concepts count as they weigh over all classes.
        """
        worth = self.weight.sum(dim=0)  # [K]
        return share @ (worth / worth.sum())  # [B, N]
