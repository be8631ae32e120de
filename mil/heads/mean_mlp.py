"""Mean of the features themselves, then a small network (SiMLP).

"Can We Simplify Slide-level Fine-tuning of Pathology Foundation Models?", arXiv:2502.20823: z = mean_i x_i,
logits = W2 relu(W1 z). It is not a sum over tiles, so it gives no contributions.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from mil.head import Head, HeadOutput, HeadSettings


class MeanMlpHead(Head):
    """Average of the features, then one hidden layer and a linear read-out."""

    additive: ClassVar[bool] = False

    def __init__(self, in_dim: int, out_dim: int, settings: HeadSettings) -> None:
        super().__init__(in_dim, out_dim, settings)
        self.layer = nn.Linear(in_dim, settings.hidden)
        self.after = nn.Sequential(nn.ReLU(), nn.Dropout(settings.dropout), nn.Linear(settings.hidden, out_dim))

    def encode(self, standard: Tensor) -> Tensor:
        """Apply the first layer to each tile: the mean of W1 x_i is W1 of the mean, and takes less memory.

        Args:
            standard: [B, n, D].

        Returns:
            [B, n, H].
        """
        applied: Tensor = self.layer(standard)  # [B, n, H]
        return applied

    def pool(self, features: Tensor, mask: Tensor, *, explain: bool) -> HeadOutput:
        """Average the tiles and judge the average.

        Args:
            features: W1 x_i of each tile [B, N, H].
            mask: bool [B, N].
            explain: Also give attention, which is the same for every tile.

        Returns:
            The output.
        """
        weight = mask / mask.sum(dim=1, keepdim=True)  # [B, N], 1/n at each of n tiles
        pooled = torch.einsum("bn,bnh->bh", weight, features)  # [B, H]
        logits = self.after(pooled)  # [B, C]
        return HeadOutput(logits, None, weight if explain else None)
