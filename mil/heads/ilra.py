"""Iterative low-rank attention: tiles speak to each other through a few learnt latents.

Xiang, Zhang, "Exploring Low-Rank Property in Multiple Instance Learning for Whole Slide Image Classification", ICLR
2023: in each block k latents gather from the tiles, H = GMHA(L <- X), and the tiles read what was gathered,
X = GMHA(X <- H), with a SiLU gate; then non-local pooling, one learnt query that attends to all tiles. Time and memory
grow with the tiles, not with their square, so a million tiles need no approximation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from mil.attending import GatedCrossAttention
from mil.head import EmbeddedHead, HeadOutput, HeadSettings
from mil.pooling import in_chunks


@dataclass(frozen=True)
class IlraSettings(HeadSettings):
    """Settings of ILRA."""

    heads: int = 4
    """Parts the width is divided into, each with its own attention; the paper has 8 for 256."""
    latents: int = 64
    """Latents k of a block, the paper's number."""
    layers: int = 2
    """Blocks before the pooling."""


class LowRankBlock(nn.Module):
    """Latents gather from the tiles, and the tiles read the latents."""

    def __init__(self, width: int, heads: int, latents: int) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.randn(1, latents, width) * width**-0.5)
        self.norm, self.gathered = nn.LayerNorm(width), nn.LayerNorm(width)
        self.gather = GatedCrossAttention(width, heads, functional.silu)
        self.tell = GatedCrossAttention(width, heads, functional.silu)

    def forward(self, tiles: Tensor, mask: Tensor) -> Tensor:
        """Update the tiles.

        Args:
            tiles: [B, N, H].
            mask: bool [B, N].

        Returns:
            [B, N, H].
        """
        latents = self.latents.expand(len(tiles), -1, -1)  # [B, k, H]
        latents = latents + self.gather(latents, in_chunks(self.norm, tiles), mask)  # [B, k, H]
        known = self.gathered(latents)  # [B, k, H]
        return in_chunks(lambda part: part + self.tell(self.norm(part), known), tiles)  # [B, N, H]


class IlraHead(EmbeddedHead):
    """Blocks of low-rank attention, then a learnt query that attends to all tiles."""

    Settings: ClassVar[type[HeadSettings]] = IlraSettings
    additive: ClassVar[bool] = False

    def __init__(self, in_dim: int, out_dim: int, settings: IlraSettings) -> None:
        super().__init__(in_dim, out_dim, settings)
        self.blocks = nn.ModuleList(
            LowRankBlock(settings.hidden, settings.heads, settings.latents) for _ in range(settings.layers)
        )
        self.query = nn.Parameter(torch.randn(1, 1, settings.hidden) * settings.hidden**-0.5)
        self.norm, self.pooled = nn.LayerNorm(settings.hidden), nn.LayerNorm(settings.hidden)
        self.attend = GatedCrossAttention(settings.hidden, settings.heads, functional.silu)
        self.read = nn.Linear(settings.hidden, out_dim)

    def pool(self, features: Tensor, mask: Tensor, *, explain: bool) -> HeadOutput:
        """Let the tiles speak through the latents and gather them.

        Args:
            features: Embedded [B, N, H].
            mask: bool [B, N].
            explain: Also give the attention of the query.

        Returns:
            The output, without contributions: what a tile does depends on all others.
        """
        tiles = features  # [B, N, H]
        for block in self.blocks:
            tiles = block(tiles, mask)  # [B, N, H]
        tiles = in_chunks(self.norm, tiles)  # [B, N, H]
        query = self.query.expand(len(tiles), -1, -1)  # [B, 1, H]
        pooled = self.pooled(query + self.attend(query, tiles, mask))[:, 0]  # [B, H]
        logits = self.read(pooled)  # [B, C]
        return HeadOutput(logits, None, self.attend.weights(query, tiles, mask) if explain else None)
