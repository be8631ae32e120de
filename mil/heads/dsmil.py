"""Dual-stream MIL: the most critical tile of each class, and all tiles weighed by their likeness to it.

Li, Li, Eliceiri, "Dual-stream Multiple Instance Learning Network for Whole Slide Image Classification with
Self-supervised Contrastive Learning", CVPR 2021, arXiv:2011.08939. Tile logits c_i = W h_i; the critical tile of class
c is m_c = argmax_i c_ic; q_i = tanh(W2 relu(W1 h_i)); A_ic = softmax_i(q_i . q_m_c / sqrt(Q)); b_c = sum_i A_ic h_i;
the bag is read from all b_c together by one linear map. The logit is half the maximum and half the bag, and the loss
is the mean of the two losses. The paper picks its epoch and its threshold on the test fold; nothing here does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from mil.head import EmbeddedHead, HeadOutput, HeadSettings
from mil.pooling import in_chunks, masked_softmax


@dataclass(frozen=True)
class DsmilSettings(HeadSettings):
    """Settings of DSMIL."""

    query: int = 32
    """Width Q in which tiles are likened to the critical one: half of the embedding; the paper has 128 for 512."""


class DsmilHead(EmbeddedHead):
    """The best tile of each class, and what is like it."""

    Settings: ClassVar[type[HeadSettings]] = DsmilSettings

    def __init__(self, in_dim: int, out_dim: int, settings: DsmilSettings) -> None:
        super().__init__(in_dim, out_dim, settings)
        self.instance = nn.Linear(settings.hidden, out_dim)
        wide, narrow = nn.Linear(settings.hidden, settings.query), nn.Linear(settings.query, settings.query)
        self.query = nn.Sequential(wide, nn.ReLU(), narrow, nn.Tanh())
        self.read = nn.Linear(out_dim * settings.hidden, out_dim)

    @property
    def bias(self) -> Tensor:
        """Half the bias of the bag's read-out [C]; that of the tiles is part of what the critical tile says."""
        return self.read.bias / 2

    def pool(self, features: Tensor, mask: Tensor, *, explain: bool) -> HeadOutput:
        """Find the critical tiles, weigh all tiles by likeness to them and judge both.

        Args:
            features: Embedded [B, N, H].
            mask: bool [B, N].
            explain: Also give contributions, attention and the logits of the tiles.

        Returns:
            The output; half of each logit is divided among the tiles at the maximum.
        """
        score, alpha = self._streams(features, mask)  # [B, N, C] both
        best = score.amax(dim=1)  # [B, C]
        logits = (best + self._bag(features, alpha)) / 2  # [B, C]
        if not explain:
            return HeadOutput(logits, None, None)
        first = (score == best[:, None]).float()  # [B, N, C]
        first = first / first.sum(dim=1, keepdim=True)  # [B, N, C]
        weight = self.read.weight.unflatten(-1, (alpha.shape[-1], -1))  # [C, C', H]
        said = torch.einsum("bnh,ckh->bnck", features.float(), weight) * alpha[:, :, None]  # [B, N, C, C']
        weighed = (first + alpha).mean(dim=-1) / 2  # [B, N], 1 in sum
        return HeadOutput(
            logits, (first * best[:, None] + said.sum(dim=-1)) / 2, weighed, score.masked_fill(~mask[..., None], 0.0)
        )

    def objective(
        self, features: Tensor, mask: Tensor, bag_loss: Callable[[Tensor], Tensor], one_hot: Tensor | None
    ) -> Tensor:
        """Half the loss of the best tile, half that of the bag.

        Args:
            features: Raw embeddings [B, N, D].
            mask: bool [B, N].
            bag_loss: From logits [B, C] to a scalar.
            one_hot: Not needed.

        Returns:
            A scalar.
        """
        del one_hot
        hidden = self.tiles(features, mask)  # [B, N, H]
        score, alpha = self._streams(hidden, mask)  # [B, N, C] both
        return (bag_loss(score.amax(dim=1)) + bag_loss(self._bag(hidden, alpha))) / 2

    def _streams(self, hidden: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        score = self.instance(hidden).float().masked_fill(~mask[..., None], -torch.inf)  # [B, N, C]
        query = in_chunks(self.query, hidden).float()  # [B, N, Q]
        rows = torch.arange(len(hidden), device=hidden.device)[:, None]  # [B, 1]
        critical = query[rows, score.argmax(dim=1)]  # [B, C, Q]
        likeness = torch.einsum("bnq,bcq->bnc", query, critical) / query.shape[-1] ** 0.5  # [B, N, C]
        return score, masked_softmax(likeness, mask)

    def _bag(self, hidden: Tensor, alpha: Tensor) -> Tensor:
        pooled = torch.einsum("bnc,bnh->bch", alpha, hidden.float())  # [B, C, H]
        logits: Tensor = self.read(pooled.flatten(1))  # [B, C]
        return logits
