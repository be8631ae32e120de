"""Clustering-constrained attention (CLAM), with one attention for all classes (SB) or one for each (MB).

Lu et al., "Data-efficient and weakly supervised computational pathology on whole-slide images", Nature Biomedical
Engineering 2021, arXiv:2004.09666; from the paper alone. Pooling is gated attention. In training the k most attended
tiles of the slide's class are taken for examples of it and the k least attended for what it is not; a small classifier
of each class learns them, and the loss is .7 of the bag's and .3 of theirs (cross-entropy; the paper has a smooth
SVM). Neither label nor loss is needed to predict, batches may be of any size, and k is at most half of the tiles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from mil.head import EmbeddedHead, HeadOutput, HeadSettings
from mil.pooling import GatedAttention


@dataclass(frozen=True)
class ClamSettings(HeadSettings):
    """Settings of CLAM."""

    attention: int = 32
    """Width A of the two attention branches: half of the embedding, as in the paper's 256 for 512."""
    k: int = 8
    """Tiles at either end of the attention that teach the classifiers of tiles."""
    bag_weight: float = 0.7
    """Share of the bag's loss; the rest is that of the tiles."""
    subtyping: bool = False
    """Whether the most attended tiles of a slide are examples of what its other classes are not. Only where classes
    exclude each other and all are known: never for several labels or tasks at once."""


class ClamSbHead(EmbeddedHead):
    """One gated attention for all classes, a linear read-out, and classifiers of tiles beside it in training."""

    Settings: ClassVar[type[HeadSettings]] = ClamSettings
    branches: ClassVar[bool] = False

    def __init__(self, in_dim: int, out_dim: int, settings: ClamSettings) -> None:
        super().__init__(in_dim, out_dim, settings)
        if settings.bag_weight > 1:
            raise ValueError("the share of the bag's loss is at most 1")
        self.k, self.bag_weight, self.subtyping = settings.k, settings.bag_weight, settings.subtyping
        self.attend = GatedAttention(settings.hidden, settings.attention, out_dim if self.branches else 1)
        self.read = nn.Linear(settings.hidden, out_dim)
        self.instance = nn.Linear(settings.hidden, out_dim)

    @property
    def bias(self) -> Tensor:
        """Logits of a slide whose every hidden unit is silent [C]."""
        return self.read.bias

    def pool(self, features: Tensor, mask: Tensor, *, explain: bool) -> HeadOutput:
        """Weigh the tiles and average them, for each class where it has its own attention.

        Args:
            features: Embedded [B, N, H].
            mask: bool [B, N].
            explain: Also give contributions, attention and the logits of the classifiers of tiles.

        Returns:
            The output.
        """
        alpha = self.attend(features, mask)  # [B, N, G], G is 1 or C
        logits = self._bag(features, alpha)  # [B, C]
        if not explain:
            return HeadOutput(logits, None, None)
        parts = alpha * (features @ self.read.weight.T)  # [B, N, C]
        return HeadOutput(logits, parts, alpha.mean(dim=-1), self.instance(features) * mask[..., None])

    def objective(
        self, features: Tensor, mask: Tensor, bag_loss: Callable[[Tensor], Tensor], one_hot: Tensor | None
    ) -> Tensor:
        """The loss of the bag and, where classes are known, that of its most and least attended tiles.

        Args:
            features: Raw embeddings [B, N, D].
            mask: bool [B, N].
            bag_loss: From logits [B, C] to a scalar.
            one_hot: True classes bool [B, C]; a slide without one teaches nothing about tiles.

        Returns:
            A scalar.
        """
        hidden = self.tiles(features, mask)  # [B, N, H]
        alpha = self.attend(hidden, mask)  # [B, N, G]
        loss = bag_loss(self._bag(hidden, alpha))
        if one_hot is None or not bool(one_hot.any()):
            return loss
        truth, used = self._examples(alpha.detach(), mask, one_hot)  # [B, N, C] both
        each = functional.binary_cross_entropy_with_logits(self.instance(hidden).float(), truth, reduction="none")
        return self.bag_weight * loss + (1 - self.bag_weight) * (each * used).sum() / used.sum()

    def _bag(self, hidden: Tensor, alpha: Tensor) -> Tensor:
        pooled = torch.einsum("bng,bnh->bgh", alpha, hidden.float())  # [B, G, H]
        return torch.sum(pooled * self.read.weight, dim=-1) + self.read.bias  # [B, C]; G = 1 serves every class

    def _examples(self, alpha: Tensor, mask: Tensor, one_hot: Tensor) -> tuple[Tensor, Tensor]:
        count = mask.sum(dim=1)[:, None, None]  # [B, 1, 1]
        k = (count // 2).clamp(1, self.k)  # [B, 1, 1]
        order = alpha.masked_fill(~mask[..., None], -1.0).argsort(dim=1, descending=True)  # [B, N, G], padding last
        rank = order.argsort(dim=1)  # [B, N, G], 0 is the most attended
        top = rank < k  # [B, N, G]
        low = (rank >= count - k) & mask[..., None] & ~top  # [B, N, G]
        mine = one_hot[:, None]  # [B, 1, C]
        others = ~mine & mine.any(dim=-1, keepdim=True) & self.subtyping  # [B, 1, C]
        return (top & mine).float(), (((top | low) & mine) | (top & others)).float()


class ClamMbHead(ClamSbHead):
    """One gated attention for each class."""

    branches: ClassVar[bool] = True
