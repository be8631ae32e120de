"""Double-tier feature distillation around any head.

Zhang et al., "DTFD-MIL: Double-Tier Feature Distillation Multiple Instance Learning for Histopathology Whole Slide
Image Classification", CVPR 2022, arXiv:2203.12081: tiles are dealt into pseudo-bags that inherit the slide's label; a
head judges each (tier 1); its attention distils each into one token (the paper's attention feature selection); gated
attention over the tokens judges the slide (tier 2). Loss: a weighed mean of both tiers'. The attention is softmaxed,
and no label is needed to predict.

In training the deal is random. To predict, tiles are dealt by their content, several times over, and the logits are
averaged: the same slide has the same score whatever the order of its tiles, and a tile that is there twice stays with
its twin.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from mil.dealing import deal, tile_numbers
from mil.errors import HeadError
from mil.head import EmbeddedHead, HeadOutput, HeadSettings, build_head
from mil.pooling import GatedAttention


@dataclass(frozen=True)
class DtfdSettings(HeadSettings):
    """Settings of the wrapper."""

    inner: str = "abmil"
    """The head of tier 1; it has this width and dropout and its own defaults else."""
    groups: int = 8
    """Pseudo-bags M of a slide."""
    splits: int = 3
    """Deals that a prediction is the mean of."""
    bag_weight: float = 0.5
    """Share of tier 2 in the loss."""
    attention: int = 32
    """Width A of the two attention branches of tier 2."""


class DtfdHead(EmbeddedHead):
    """Any head over parts of a slide, then gated attention over what it distilled."""

    Settings: ClassVar[type[HeadSettings]] = DtfdSettings
    additive: ClassVar[bool] = False

    def __init__(self, in_dim: int, out_dim: int, settings: DtfdSettings) -> None:
        super().__init__(in_dim, out_dim, settings)
        if settings.bag_weight > 1:
            raise ValueError("the share of tier 2 in the loss is at most 1")
        self.groups, self.splits, self.bag_weight = settings.groups, settings.splits, settings.bag_weight
        common = {"hidden": settings.hidden, "dropout": settings.dropout}
        self.inner = build_head(settings.inner, settings.hidden, out_dim, common)
        self.attend = GatedAttention(settings.hidden, settings.attention)
        self.read = nn.Linear(settings.hidden, out_dim)

    def encode(self, standard: Tensor) -> Tensor:
        """Embed tiles and draw the number of each by which it is dealt.

        Args:
            standard: [B, n, D].

        Returns:
            [B, n, H + R]; R is 1 in training, where the numbers are random, else one a split.
        """
        drawn = torch.rand(*standard.shape[:2], 1, device=standard.device) if self.training else None  # [B, n, 1]
        number = tile_numbers(standard, self.splits) if drawn is None else drawn  # [B, n, R]
        return torch.cat([super().encode(standard), number], dim=-1)  # [B, n, H + R]

    def pool(self, features: Tensor, mask: Tensor, *, explain: bool) -> HeadOutput:
        """Judge the slide by each deal and take the mean.

        Args:
            features: Embedded and numbered [B, N, H + R].
            mask: bool [B, N].
            explain: Also give attention, that of tier 2 times that of tier 1.

        Returns:
            The output, without contributions: tier 2 is no sum over tiles.
        """
        hidden, numbers = self._apart(features)  # [B, N, H] and R times [B, N]
        judged = [self._judge(*self._deal(hidden, mask, number), mask) for number in numbers]  # logits, attention
        logits = torch.stack([logits for logits, _ in judged]).mean(dim=0)  # [B, C]
        attention = torch.stack([attention for _, attention in judged]).mean(dim=0) if explain else None  # [B, N]
        return HeadOutput(logits, None, attention)

    def objective(
        self, features: Tensor, mask: Tensor, bag_loss: Callable[[Tensor], Tensor], one_hot: Tensor | None
    ) -> Tensor:
        """The loss of the slides, and that of their pseudo-bags as the inner head defines it.

        Args:
            features: Raw embeddings [B, N, D].
            mask: bool [B, N].
            bag_loss: From logits [B, C] to a scalar.
            one_hot: True classes bool [B, C], for the inner head.

        Returns:
            A scalar.
        """
        hidden, numbers = self._apart(self.tiles(features, mask))  # [B, N, H]
        parts, shown, place = self._deal(hidden, mask, numbers[0])  # [B * M, L, H]
        filled = shown.any(dim=1)  # [B * M]
        known = None if one_hot is None else one_hot.repeat_interleave(self.groups, dim=0)[filled]  # [P, C]

        def each(logits: Tensor) -> Tensor:
            spread = self._spread(logits, filled)  # [B, M, C]
            return torch.stack([bag_loss(part) for part in spread.unbind(dim=1)]).mean()

        first = self.inner.objective(parts[filled], shown[filled], each, known)
        logits, _ = self._judge(parts, shown, place, mask)  # [B, C]
        return self.bag_weight * bag_loss(logits) + (1 - self.bag_weight) * first

    def _apart(self, features: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        width = self.read.in_features
        return features[..., :width], features[..., width:].float().unbind(dim=-1)

    def _deal(self, hidden: Tensor, mask: Tensor, number: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return deal(hidden, mask, (number * self.groups).long(), self.groups)

    def _judge(self, parts: Tensor, shown: Tensor, place: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        filled = shown.any(dim=1)  # [B * M]
        weight = self.inner(parts[filled], shown[filled], explain=True).attention  # [P, L]
        if weight is None:
            raise HeadError("The inner head weighs no tiles, so there is nothing to distil by.")
        inner = weight.new_zeros(shown.shape)  # [B * M, L]
        inner[filled] = weight
        tokens = torch.einsum("pl,plh->ph", inner, parts.float()).unflatten(0, (-1, self.groups))  # [B, M, H]
        outer = self.attend(tokens, filled.unflatten(0, (-1, self.groups))).squeeze(-1)  # [B, M]
        logits = self.read(torch.einsum("bm,bmh->bh", outer, tokens))  # [B, C]
        both = (inner * outer.flatten()[:, None]).flatten()[place] * mask  # [B, N], 1 in sum
        return logits, both

    def _spread(self, logits: Tensor, filled: Tensor) -> Tensor:
        """Logits of every pseudo-bag [B, M, C]; an empty one repeats the next that has tiles of the same slide."""
        spread = logits.new_zeros(len(filled), logits.shape[-1])  # [B * M, C]
        spread[filled] = logits
        there = filled.unflatten(0, (-1, self.groups))  # [B, M]
        own = torch.arange(self.groups, device=logits.device)  # [M]
        ahead = (own[:, None] + own) % self.groups  # [M, M], row m counts on from m
        taken = (own + there[:, ahead].float().argmax(dim=-1)) % self.groups  # [B, M], the first that has tiles
        rows = torch.arange(len(there), device=logits.device)[:, None]  # [B, 1]
        apart: Tensor = spread.unflatten(0, (-1, self.groups))  # [B, M, C]
        return apart[rows, taken]
