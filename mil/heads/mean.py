"""Mean pooling: the baseline every other head must beat.

Zaheer et al., "Deep Sets", NeurIPS 2017, arXiv:1703.06114: embed each tile, average, read out. The read-out is linear,
so what each tile adds to the logit is exact.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mil.head import EmbeddedHead, HeadOutput, HeadSettings


class MeanHead(EmbeddedHead):
    """Average of embedded tiles, then a linear read-out."""

    def __init__(self, in_dim: int, out_dim: int, settings: HeadSettings) -> None:
        super().__init__(in_dim, out_dim, settings)
        self.read = nn.Linear(settings.hidden, out_dim)

    @property
    def bias(self) -> Tensor:
        """Logits of a slide whose every hidden unit is silent [C]."""
        return self.read.bias

    def pool(self, features: Tensor, mask: Tensor, *, explain: bool) -> HeadOutput:
        """Average the tiles.

        Args:
            features: Embedded [B, N, H].
            mask: bool [B, N].
            explain: Also give contributions and attention.

        Returns:
            The output.
        """
        weight = mask / mask.sum(dim=1, keepdim=True)  # [B, N], 1/n at each of n tiles
        pooled = torch.einsum("bn,bnh->bh", weight, features)  # [B, H]
        logits = self.read(pooled)  # [B, C]
        if not explain:
            return HeadOutput(logits, None, None)
        parts = weight[..., None] * (features @ self.read.weight.T)  # [B, N, C]
        return HeadOutput(logits, parts, weight)
