"""From the tokens of a vision transformer to one vector a tile."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from foundation.errors import RegistryError


def pool(tokens: Tensor, how: str, prefix: int) -> Tensor:
    """Make one vector of a tile's tokens.

    Args:
        tokens: [B, prefix + P, D]: the class token, registers, then P patches.
        how: `cls`, the class token; `mean`, of the patches; `cls+mean`, one after the other.
        prefix: Tokens before the patches. Registers hold what the network keeps for itself (Darcet et al.,
            arXiv:2309.16588), so no mean has them.

    Returns:
        [B, D], or [B, 2 D] for `cls+mean`.

    Raises:
        RegistryError: If that is no way to pool, or there is no class token to take.
    """
    if how not in {"cls", "mean", "cls+mean"} or ("cls" in how and prefix < 1):
        raise RegistryError(f"Tokens cannot be pooled as {how[:40]!r} with {prefix} tokens before the patches.")
    if how == "cls":
        return tokens[:, 0]
    mean = tokens[:, prefix:].mean(dim=1)
    return mean if how == "mean" else torch.cat([tokens[:, 0], mean], dim=-1)


class Pooled(nn.Module):
    """A model of timm with the pooling of its row, whatever timm's own is.

    Args:
        model: Has `forward_features`.
        how: As in `pool`, or `pooled` for the model's own vector.
        prefix: Tokens before those of the patches.

    Raises:
        RegistryError: If the model says that it has another number of those.
    """

    def __init__(self, model: nn.Module, how: str, prefix: int) -> None:
        super().__init__()
        own = getattr(model, "num_prefix_tokens", prefix)
        if how != "pooled" and own != prefix:
            raise RegistryError(
                f"The architecture has {own} tokens before those of the patches, the table says {prefix}."
            )
        self.model = model
        self.how = how
        self.prefix = prefix

    def forward(self, images: Tensor) -> Tensor:
        """Encode.

        Args:
            images: Normalised images [B, 3, px, px].

        Returns:
            Features [B, dim].
        """
        if self.how == "pooled":
            return cast("Tensor", self.model(images))
        return pool(cast("Any", self.model).forward_features(images), self.how, self.prefix)
