"""Additive MIL: the classifier judges each weighed tile, and the logit is the sum of what it said.

Javed et al., "Additive MIL: Intrinsically Interpretable Multiple Instance Learning for Pathology", NeurIPS 2022,
arXiv:2206.01794: logits = sum_i psi(alpha_i h_i) with a network psi, alpha from gated attention. Ours has no biases
inside psi, so psi(a h) = a psi(h) for a >= 0: silence says nothing, padding adds exactly 0, and a slide whose every
tile is there twice has the same logits. One bias a class stands outside the sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from mil.head import EmbeddedHead, HeadOutput, HeadSettings
from mil.pooling import GatedAttention


@dataclass(frozen=True)
class AdditiveSettings(HeadSettings):
    """Settings of additive MIL."""

    attention: int = 32
    """Width A of the two attention branches."""
    classifier: int = 32
    """Hidden width K of psi: half of the embedding."""


class AdditiveHead(EmbeddedHead):
    """Gated attention, then a network that judges each weighed tile."""

    Settings: ClassVar[type[HeadSettings]] = AdditiveSettings

    def __init__(self, in_dim: int, out_dim: int, settings: AdditiveSettings) -> None:
        super().__init__(in_dim, out_dim, settings)
        self.attend = GatedAttention(settings.hidden, settings.attention)
        self.inner = nn.Linear(settings.hidden, settings.classifier, bias=False)
        self.outer = nn.Linear(settings.classifier, out_dim)

    @property
    def bias(self) -> Tensor:
        """Logits of a slide whose every tile says nothing [C]."""
        return self.outer.bias

    def pool(self, features: Tensor, mask: Tensor, *, explain: bool) -> HeadOutput:
        """Weigh the tiles, judge each and add up.

        Args:
            features: Embedded [B, N, H].
            mask: bool [B, N].
            explain: Also give contributions and attention.

        Returns:
            The output.
        """
        alpha = self.attend(features, mask).squeeze(-1)  # [B, N], 0 at padding, 1 in sum
        inner = torch.relu(self.inner(features)).float()  # [B, N, K]; alpha_i of it is relu(W alpha_i h_i)
        logits = self.outer(torch.einsum("bn,bnk->bk", alpha, inner))  # [B, C]; the sum over tiles before the last W
        if not explain:
            return HeadOutput(logits, None, None)
        parts = alpha[..., None] * (inner @ self.outer.weight.T)  # [B, N, C]
        return HeadOutput(logits, parts, alpha)
