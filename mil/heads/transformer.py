"""A transformer over tiles with a class query.

Vaswani et al., NeurIPS 2017, arXiv:1706.03762, as it is built today: pre-norm, RMS norm, SwiGLU and a gate on what
attention brings (QG-MIL, arXiv:2606.20027). Tiles attend to each other in all layers but the last, where one learnt
query attends to the tiles (class attention of CaiT, arXiv:2103.17239). The query is never a key, so a slide whose every
tile is there twice scores the same; padding is never a key either. Places are not used: they bring nothing with
features of foundation models (arXiv:2407.07841).

Memory grows with the tiles, time with their square. Up to `context` tiles attention is exact. Beyond, the tiles are
dealt into groups of about that size by their content and attend within their group; the class query still attends to
all of them. Training sees random parts of slides, so a group is more like what was learnt than the whole would be.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from mil.attending import Block
from mil.dealing import tile_numbers
from mil.head import EmbeddedHead, HeadOutput, HeadSettings


@dataclass(frozen=True)
class TransformerSettings(HeadSettings):
    """Settings of the transformer."""

    heads: int = 4
    """Parts the width is divided into, each with its own attention."""
    layers: int = 2
    """The last is the class query's."""
    context: int = 32_768
    """Tiles that attend to each other at most: more than nearly every slide has, and seconds a slide."""


class TransformerHead(EmbeddedHead):
    """Tiles attend to each other, then a learnt query attends to them."""

    Settings: ClassVar[type[HeadSettings]] = TransformerSettings
    additive: ClassVar[bool] = False

    def __init__(self, in_dim: int, out_dim: int, settings: TransformerSettings) -> None:
        super().__init__(in_dim, out_dim, settings)
        self.context = settings.context
        self.blocks = nn.ModuleList(
            Block(settings.hidden, settings.heads, settings.dropout) for _ in range(settings.layers)
        )
        self.query = nn.Parameter(torch.randn(1, 1, settings.hidden) * 0.02)
        self.norm = nn.RMSNorm(settings.hidden)
        self.read = nn.Linear(settings.hidden, out_dim)

    def encode(self, standard: Tensor) -> Tensor:
        """Embed tiles and number them, for slides that are longer than the context.

        Args:
            standard: [B, n, D].

        Returns:
            [B, n, H + 1]; the last column is the number.
        """
        return torch.cat([super().encode(standard), tile_numbers(standard, 1)], dim=-1)  # [B, n, H + 1]

    def pool(self, features: Tensor, mask: Tensor, *, explain: bool) -> HeadOutput:
        """Let tiles attend to each other and the query to them.

        Args:
            features: Embedded and numbered [B, N, H + 1].
            mask: bool [B, N].
            explain: Also give the attention of the query.

        Returns:
            The output, without contributions: what a tile does depends on all others.
        """
        tiles, number = features[..., :-1], features[..., -1]  # [B, N, H] and [B, N]
        for block in self.blocks[:-1]:
            tiles = self._mix(block, tiles, number, mask)  # [B, N, H]
        last: Block = self.blocks[-1]  # type: ignore[assignment] # a list of modules does not say of which
        query = self.query.expand(len(tiles), -1, -1)  # [B, 1, H]
        logits = self.read(self.norm(last(query, tiles, mask)[:, 0]))  # [B, C]
        if not explain:
            return HeadOutput(logits, None, None)
        return HeadOutput(logits, None, last.attend.weights(last.before(query), last.before(tiles), mask))

    def _mix(self, block: nn.Module, tiles: Tensor, number: Tensor, mask: Tensor) -> Tensor:
        if tiles.shape[1] <= self.context:
            mixed: Tensor = block(tiles, tiles, mask)  # [B, N, H]
            return mixed
        mixed = torch.zeros_like(tiles)  # [B, N, H]
        for row, rows in self._groups(number, mask):
            group = tiles[row, rows][None]  # [1, n, H]
            mixed[row, rows] = block(group, group, torch.ones_like(rows)[None] > 0)[0]
        return mixed

    def _groups(self, number: Tensor, mask: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Bag and tiles of each group that has any."""
        for row, shown in enumerate(mask):
            count = -(-int(shown.sum()) // self.context)
            group = (number[row] * count).long().masked_fill(~shown, -1)  # [N]
            for wanted in group.unique():
                if wanted >= 0:
                    yield row, (group == wanted).nonzero()[:, 0]
