"""The best tile decides: a slide is as positive as its most positive tile.

mi-Net of Wang et al., "Revisiting multiple instance neural networks", Pattern Recognition 2018, arXiv:1610.02501, with
several concepts: a_ik says how like concept k tile i is, P_k = sigmoid(max_i a_ik), logits = bias + sum_k w_k P_k with
w_k >= 0 (see `mil.presence`). Neither one more tile nor the number of them can lower a logit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from mil.head import EmbeddedHead, HeadOutput, HeadSettings
from mil.presence import Presence


@dataclass(frozen=True)
class InstanceMaxSettings(HeadSettings):
    """Settings of the maximum over tiles."""

    concepts: int = 16
    """Things K that may be there or not; 1 is the textbook's. Only the best tile of each learns, so there are many, for
    some to begin near what matters."""


class InstanceMaxHead(EmbeddedHead):
    """The most telling tile of each concept, then a read-out that can only rise."""

    Settings: ClassVar[type[HeadSettings]] = InstanceMaxSettings
    respects_mil_assumption: ClassVar[bool] = True

    def __init__(self, in_dim: int, out_dim: int, settings: InstanceMaxSettings) -> None:
        super().__init__(in_dim, out_dim, settings)
        self.concept = nn.Linear(settings.hidden, settings.concepts)
        self.read = Presence(settings.concepts, out_dim)

    @property
    def bias(self) -> Tensor:
        """Logits of a slide on which no concept is [C]."""
        return self.read.bias

    def pool(self, features: Tensor, mask: Tensor, *, explain: bool) -> HeadOutput:
        """Find the best tile of each concept.

        Args:
            features: Embedded [B, N, H].
            mask: bool [B, N].
            explain: Also give contributions, attention and the logits of each tile alone.

        Returns:
            The output; what a concept is worth is divided among the tiles that reach its maximum.
        """
        like = self.concept(features).float().masked_fill(~mask[..., None], -torch.inf)  # [B, N, K]
        best = like.amax(dim=1)  # [B, K]
        logits = self.read(torch.sigmoid(best))  # [B, C]
        if not explain:
            return HeadOutput(logits, None, None)
        first = (like == best[:, None]).float()  # [B, N, K]
        share = first / first.sum(dim=1, keepdim=True)  # [B, N, K]
        alone = self.read(torch.sigmoid(like)) * mask[..., None]  # [B, N, C]
        return HeadOutput(logits, self.read.parts(torch.sigmoid(best), share), self.read.attention(share), alone)
