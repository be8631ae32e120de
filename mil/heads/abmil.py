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

from mil.head import Head, HeadOutput, HeadSettings


@dataclass(frozen=True)
class AbmilSettings(HeadSettings):
    """Settings of gated ABMIL."""

    attention: int = 32
    """Width A of the two attention branches: half of the embedding; the paper has 128 for 500."""


class AbmilHead(Head):
    """Gated attention over tiles, then a linear read-out."""

    Settings: ClassVar[type[HeadSettings]] = AbmilSettings

    def __init__(self, in_dim: int, out_dim: int, settings: AbmilSettings) -> None:
        super().__init__(in_dim, out_dim, settings)
        self.embed = nn.Sequential(nn.Linear(in_dim, settings.hidden), nn.ReLU(), nn.Dropout(settings.dropout))
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
            features: Standardised [B, N, D].
            mask: bool [B, N].
            explain: Also give contributions and attention.

        Returns:
            The output.
        """
        hidden = self.embed(features)  # [B, N, H]
        gated = torch.tanh(self.content(hidden)) * torch.sigmoid(self.gate(hidden))  # [B, N, A]
        score = self.weigh(gated).squeeze(-1)  # [B, N]
        alpha = masked_softmax(score, mask)  # [B, N], 0 at padding, 1 in sum
        pooled = torch.einsum("bn,bnh->bh", alpha, hidden.float())  # [B, H]
        logits = self.read(pooled)  # [B, C]
        if not explain:
            return HeadOutput(logits, None, None)
        parts = alpha[..., None] * (hidden @ self.read.weight.T)  # [B, N, C]
        return HeadOutput(logits, parts, alpha)


def masked_softmax(score: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the tiles of each bag; padding gets exactly 0.

    Args:
        score: Any finite numbers [B, N].
        mask: True where there is a tile, at least one a row, bool [B, N].

    Returns:
        float32 [B, N], whatever the precision of the scores, because a long softmax in bfloat16 does not sum to 1.
    """
    return torch.softmax(score.float().masked_fill(~mask, -torch.inf), dim=1)
