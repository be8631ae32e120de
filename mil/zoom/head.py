"""Gated fusion of zooms: each is pooled by its own attention, and a gate says how much it counts on this slide.

z = sum_s g_s W_s z_s with g = softmax_s(u . tanh(V W_s z_s)) over the zooms that are there, z_s the gated attention
pooling of zoom s (Ilse et al., ICML 2018, arXiv:1802.04712, equation 9, once a zoom and once more over zooms, as in
the hierarchical attention of Yang et al., NAACL 2016). The read-out is linear in z, so g_s alpha_i (c . W_s h_i) is
exactly what tile i adds to the logit. A zoom that is absent has neither tiles nor gate; in training zooms are hidden
at random, so that the head does not come to need them all (modality dropout: Neverova et al., arXiv:1501.00102).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from mil.errors import HeadError
from mil.head import Head, HeadOutput, HeadSettings
from mil.pooling import GatedAttention, embedding
from mil.zoom.plan import blocks

LEAST = 1e-6
"""Share of the tiles below which a zoom was not there in training, and variance below which a feature says nothing."""


@dataclass(frozen=True)
class ZoomSettings(HeadSettings):
    """Settings of the fusion."""

    widths: str = ""
    """Width of each zoom, finest first, such as "384,1280"; "" for one zoom that has all columns but the first."""
    attention: int = 32
    """Width A of the two attention branches."""
    fused: int = 32
    """Width F of the space that the zooms meet in."""
    absent: float = 0.1
    """Chance with which each zoom of a training slide is hidden; one always stays."""


class ZoomHead(Head):
    """Attention over tiles within each zoom, a gate over zooms, a linear read-out. Reads the rows of a `ZoomPlan`.

    Raises:
        HeadError: The settings do not fit the width of the rows.
    """

    Settings: ClassVar[type[HeadSettings]] = ZoomSettings

    def __init__(self, in_dim: int, out_dim: int, settings: ZoomSettings) -> None:
        super().__init__(in_dim, out_dim, settings)
        widths = tuple(int(width) for width in (settings.widths or str(in_dim - 1)).split(","))
        if min(widths) < 1 or sum(widths) + len(widths) != in_dim or not 0 <= settings.absent < 1:
            raise HeadError("The widths of the zooms and one number a zoom must sum to the width of the rows.")
        self.count, self.blocks, self.hidden, self.absent = (
            len(widths),
            blocks(widths),
            settings.hidden,
            settings.absent,
        )
        self.embeds = nn.ModuleList(embedding(width, settings.hidden, settings.dropout) for width in widths)
        self.attends = nn.ModuleList(GatedAttention(settings.hidden, settings.attention) for _ in widths)
        self.meet = nn.ModuleList(nn.Linear(settings.hidden, settings.fused, bias=False) for _ in widths)
        self.content = nn.Linear(settings.fused, settings.attention)
        self.gate = nn.Linear(settings.attention, 1, bias=False)  # softmax would cancel a bias
        self.read = nn.Linear(settings.fused, out_dim)

    @property
    def bias(self) -> Tensor:
        """Logits of a slide whose every hidden unit is silent [C]."""
        return self.read.bias

    def encode(self, standard: Tensor) -> Tensor:
        """Embed each tile by the layer of its zoom.

        Args:
            standard: [B, n, in_dim].

        Returns:
            Embedding, then 1 at the tile's zoom and 0 at the others [B, n, H + S].
        """
        raw = standard[..., : self.count] * self.scale[: self.count] + self.mean[: self.count]  # [B, n, S]
        zoom = raw.argmax(dim=-1)  # [B, n]; noise in training does not change it
        parts = [self._embed(slot, standard[zoom == slot]) for slot in range(self.count)]  # S times [m, H]
        hidden = parts[0].new_zeros(*zoom.shape, self.hidden)  # [B, n, H]
        for slot, part in enumerate(parts):
            hidden[zoom == slot] = part
        return torch.cat([hidden, nn.functional.one_hot(zoom, self.count).to(hidden.dtype)], dim=-1)  # [B, n, H + S]

    def pool(self, features: Tensor, mask: Tensor, *, explain: bool) -> HeadOutput:
        """Pool each zoom, weigh the zooms against each other and add them up.

        Args:
            features: What `encode` gave [B, N, H + S].
            mask: bool [B, N].
            explain: Also give contributions and attention.

        Returns:
            The output.
        """
        hidden, zoom = features.split([self.hidden, self.count], dim=-1)  # [B, N, H], [B, N, S]
        there = mask[..., None] & (zoom > 0.5)  # [B, N, S]
        present = self._hide(there.any(dim=1))  # [B, S]
        alpha = self._attend(hidden, there)  # [B, N, S], 1 in sum over the tiles of each zoom that is there
        pooled = torch.einsum("bns,bnh->bsh", alpha, hidden.float())  # [B, S, H]
        met = torch.stack([meet(pooled[:, slot]) for slot, meet in enumerate(self.meet)], dim=1).float()  # [B, S, F]
        score = self.gate(torch.tanh(self.content(met))).squeeze(-1).float()  # [B, S]
        gate = torch.softmax(score.masked_fill(~present, -torch.inf), dim=1)  # [B, S], 0 where absent
        logits = self.read(torch.einsum("bs,bsf->bf", gate, met))  # [B, C]
        if not explain:
            return HeadOutput(logits, None, None)
        weight = gate[:, None, :] * alpha  # [B, N, S]
        each = torch.stack([meet(hidden) @ self.read.weight.T for meet in self.meet], dim=2)  # [B, N, S, C]
        return HeadOutput(logits, torch.einsum("bns,bnsc->bnc", weight, each), weight.sum(dim=-1))

    def _embed(self, slot: int, standard: Tensor) -> Tensor:
        """Standardise by the zoom's own mean and deviation, then embed [m, H]."""
        mean, scale = self.own(slot)
        block = self.blocks[slot]
        raw = standard[:, block] * self.scale[block] + self.mean[block]  # [m, D]
        embedded: Tensor = self.embeds[slot]((raw - mean) / scale)
        return embedded

    def own(self, slot: int) -> tuple[Tensor, Tensor]:
        """Mean and deviation of a zoom's features in training [D].

        The head's buffers are of all rows, most of which have 0 in this zoom's block. With p the share of its rows
        (the mean of its column): E[x | zoom] = mean / p and E[x^2 | zoom] = (scale^2 + mean^2) / p.

        Args:
            slot: Which zoom.

        Returns:
            0 and 1 for a zoom that was not there; deviation 1 for a feature that says nothing.
        """
        block, share = self.blocks[slot], self.mean[slot]
        if share < LEAST:
            return torch.zeros_like(self.mean[block]), torch.ones_like(self.mean[block])
        mean = self.mean[block] / share
        square = (self.scale[block].square() + self.mean[block].square()) / share - mean.square()
        return mean, torch.where(square > LEAST, square.clamp(min=LEAST).sqrt(), torch.ones_like(square))

    def _attend(self, hidden: Tensor, there: Tensor) -> Tensor:
        """Attention within each zoom [B, N, S]; over anything where it has no tile, for its gate is 0.

        A softmax over nothing is not a number, and its gradient would reach every weight.
        """
        absent = ~there.any(dim=1, keepdim=True)  # [B, 1, S]
        found = [attend(hidden, (there | absent)[..., slot]) for slot, attend in enumerate(self.attends)]
        return torch.cat(found, dim=-1)

    def _hide(self, present: Tensor) -> Tensor:
        """In training: leave some zooms out, but never all [B, S]."""
        if not self.training or not self.absent:
            return present
        kept = present & (torch.rand(present.shape, device=present.device) >= self.absent)
        return torch.where(kept.any(dim=1, keepdim=True), kept, present)
