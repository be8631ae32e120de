"""Gated attention with several heads, and with one attention a class where asked.

Ilse, Tomczak, Welling, ICML 2018, arXiv:1802.04712, equation 9, M times over: z_m = sum_i alpha_im h_i, and the logit
is linear in all z_m together. With `branches` each class has its own attentions, the pooling of CLAM-MB (Lu et al.,
Nature Biomedical Engineering 2021, arXiv:2004.09666) without its instance loss: what speaks for one class need not be
where another looks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from mil.head import EmbeddedHead, HeadOutput, HeadSettings
from mil.pooling import GatedAttention


@dataclass(frozen=True)
class AbmilMultiSettings(HeadSettings):
    """Settings of multi-head gated ABMIL."""

    attention: int = 32
    """Width A of the two branches of each attention."""
    heads: int = 4
    """Attentions M a class: each may look for something else."""
    branches: bool = False
    """Whether each class has attentions of its own."""


class AbmilMultiHead(EmbeddedHead):
    """Several gated attentions over tiles, then a linear read-out of all they found."""

    Settings: ClassVar[type[HeadSettings]] = AbmilMultiSettings

    def __init__(self, in_dim: int, out_dim: int, settings: AbmilMultiSettings) -> None:
        super().__init__(in_dim, out_dim, settings)
        self.groups = out_dim if settings.branches else 1
        self.attend = GatedAttention(settings.hidden, settings.attention, settings.heads * self.groups)
        self.read = nn.Linear(settings.heads * settings.hidden, out_dim)

    @property
    def bias(self) -> Tensor:
        """Logits of a slide whose every hidden unit is silent [C]."""
        return self.read.bias

    def pool(self, features: Tensor, mask: Tensor, *, explain: bool) -> HeadOutput:
        """Weigh the tiles in several ways, average them in each and read out all averages.

        Args:
            features: Embedded [B, N, H].
            mask: bool [B, N].
            explain: Also give contributions and attention, the mean of all attentions.

        Returns:
            The output.
        """
        alpha = self.attend(features, mask).unflatten(-1, (self.groups, -1))  # [B, N, G, M], G is 1 or C
        pooled = torch.einsum("bngm,bnh->bgmh", alpha, features.float())  # [B, G, M, H]
        weight = self.read.weight.unflatten(-1, (alpha.shape[-1], -1))  # [C, M, H]
        logits = (pooled * weight).sum(dim=(-2, -1)) + self.read.bias  # [B, C]
        if not explain:
            return HeadOutput(logits, None, None)
        said = torch.einsum("bnh,cmh->bncm", features.float(), weight)  # [B, N, C, M]
        return HeadOutput(logits, (alpha * said).sum(dim=-1), alpha.mean(dim=(-2, -1)))  # [B, N, C] and [B, N]
