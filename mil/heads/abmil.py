"""Gated attention pooling (ABMIL).

Ilse, Tomczak, Welling, "Attention-based Deep Multiple Instance Learning", ICML 2018, arXiv:1802.04712, equation 9:
a_i = w (tanh(V h_i) * sigmoid(U h_i)), alpha = softmax(a), z = sum alpha_i h_i. The read-out is linear in z, so
alpha_i (c . h_i) is exactly what tile i adds to the logit (the additive reading of Javed et al., NeurIPS 2022,
arXiv:2206.01794).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from mil.head import EmbeddedHead, HeadOutput, HeadSettings
from mil.pooling import in_chunks, masked_softmax


@dataclass(frozen=True)
class AbmilSettings(HeadSettings):
    """Settings of gated ABMIL."""

    attention: int = 32
    """Width A of the two attention branches: half of the embedding; the paper has 128 for 500."""


class AbmilHead(EmbeddedHead):
    """Gated attention over tiles, then a linear read-out."""

    Settings: ClassVar[type[HeadSettings]] = AbmilSettings

    def __init__(self, in_dim: int, out_dim: int, settings: AbmilSettings) -> None:
        super().__init__(in_dim, out_dim, settings)
        self.content = nn.Linear(settings.hidden, settings.attention)
        self.gate = nn.Linear(settings.hidden, settings.attention)
        self.weigh = nn.Linear(settings.attention, 1, bias=False)  # softmax would cancel a bias
        self.read = nn.Linear(settings.hidden, out_dim)

    @property
    def bias(self) -> Tensor:
        """Logits of a slide whose every hidden unit is silent [C]."""
        return self.read.bias

    def pool(self, features: Tensor, mask: Tensor, *, explain: bool) -> HeadOutput:
        """Weigh the tiles against each other and average them.

        Args:
            features: Embedded [B, N, H].
            mask: bool [B, N].
            explain: Also give contributions and attention.

        Returns:
            The output.
        """
        alpha = masked_softmax(in_chunks(self._score, features), mask)  # [B, N], 0 at padding, 1 in sum
        pooled = torch.einsum("bn,bnh->bh", alpha, features.float())  # [B, H]
        logits = self.read(pooled)  # [B, C]
        if not explain:
            return HeadOutput(logits, None, None)
        parts = alpha[..., None] * (features @ self.read.weight.T)  # [B, N, C]
        return HeadOutput(logits, parts, alpha)

    def _score(self, hidden: Tensor) -> Tensor:
        gated = torch.tanh(self.content(hidden)) * torch.sigmoid(self.gate(hidden))  # [B, n, A]
        score: Tensor = self.weigh(gated).squeeze(-1)  # [B, n]
        return score
