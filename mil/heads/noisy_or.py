"""Noisy-or: the chance that at least one tile is positive.

Viola, Platt, Zhang, "Multiple Instance Boosting for Object Detection", NIPS 2005, for one concept: 1 - P =
prod_i (1 - p_i). With several, P_k = 1 - exp(-sum_i softplus(a_ik)), which is the same in logarithms (1 - sigmoid(a) =
exp(-softplus(a))), and logits = bias + sum_k w_k P_k with w_k >= 0 (see `mil.presence`). All tiles of a concept learn,
not the best alone, and many weak ones add up: use it where one more positive tile is more evidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from mil.head import EmbeddedHead, HeadOutput, HeadSettings
from mil.presence import Presence

LEAST = 1e-30
"""Evidence of any tile, so that a concept that is nowhere still has a share to divide."""


@dataclass(frozen=True)
class NoisyOrSettings(HeadSettings):
    """Settings of noisy-or."""

    concepts: int = 8
    """Things K that may be there or not; 1 is the textbook's."""
    tiles: float = 16.0
    """Tiles of a typical bag: a fresh head gives each odds of one to so many, so that P does not start at 1."""


class NoisyOrHead(EmbeddedHead):
    """The chance that each concept is on any tile, then a read-out that can only rise."""

    Settings: ClassVar[type[HeadSettings]] = NoisyOrSettings
    respects_mil_assumption: ClassVar[bool] = True

    def __init__(self, in_dim: int, out_dim: int, settings: NoisyOrSettings) -> None:
        super().__init__(in_dim, out_dim, settings)
        self.concept = nn.Linear(settings.hidden, settings.concepts)
        nn.init.constant_(self.concept.bias, -log(settings.tiles))
        self.read = Presence(settings.concepts, out_dim)

    @property
    def bias(self) -> Tensor:
        """Logits of a slide on which no concept is [C]."""
        return self.read.bias

    def pool(self, features: Tensor, mask: Tensor, *, explain: bool) -> HeadOutput:
        """Add up the evidence of all tiles for each concept.

        Args:
            features: Embedded [B, N, H].
            mask: bool [B, N].
            explain: Also give contributions, attention and the logits of each tile alone.

        Returns:
            The output; what a concept is worth is divided as its evidence is.
        """
        like = self.concept(features).float()  # [B, N, K]
        evidence = functional.softplus(like).clamp(min=LEAST) * mask[..., None]  # [B, N, K], -log(1 - p)
        total = evidence.sum(dim=1)  # [B, K]
        presence = -torch.expm1(-total)  # [B, K]
        logits = self.read(presence)  # [B, C]
        if not explain:
            return HeadOutput(logits, None, None)
        share = evidence / total[:, None]  # [B, N, K]
        alone = self.read(torch.sigmoid(like)) * mask[..., None]  # [B, N, C]
        return HeadOutput(logits, self.read.parts(presence, share), self.read.attention(share), alone)
