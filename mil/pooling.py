"""What heads share: work on long bags in parts, softmax over tiles only, and gated attention."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

CHUNK = 16_384
"""Tiles worked on at a time where no gradient is asked for: 64 MB of features of width 1024."""


def in_chunks(function: Callable[..., Tensor], *parts: Tensor) -> Tensor:
    """Apply a function of single tiles to a long bag part by part, so that what it makes on the way stays small.

    With gradients everything is kept for the way back anyhow, so the bag is then taken as a whole.

    Args:
        function: From slices [B, n, ...] to [B, n, ...]; must treat each tile alone.
        parts: Tensors [B, N, ...], sliced alike.

    Returns:
        What the function gives for the whole bag [B, N, ...].
    """
    length = parts[0].shape[1]
    if torch.is_grad_enabled() or length <= CHUNK:
        return function(*parts)
    first = function(*(part[:, :CHUNK] for part in parts))  # [B, CHUNK, ...]
    whole = first.new_empty(first.shape[0], length, *first.shape[2:])  # [B, N, ...]
    whole[:, :CHUNK] = first
    for start in range(CHUNK, length, CHUNK):
        stop = min(start + CHUNK, length)
        whole[:, start:stop] = function(*(part[:, start:stop] for part in parts))
    return whole


def masked_softmax(score: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the tiles of each bag; padding gets exactly 0.

    Args:
        score: Any finite numbers [B, N] or [B, N, ...].
        mask: True where there is a tile, at least one a row, bool [B, N].

    Returns:
        float32 of the shape of the scores, whatever their precision, because a long softmax in bfloat16 does not sum
        to 1.
    """
    shown = mask.reshape(mask.shape + (1,) * (score.dim() - 2))  # [B, N, 1, ...]
    return torch.softmax(score.float().masked_fill(~shown, -torch.inf), dim=1)


def embedding(in_dim: int, width: int, dropout: float) -> nn.Sequential:
    """The layer that turns features into what a head works on.

    Args:
        in_dim: Width D of the features.
        width: Width H of the result.
        dropout: Share silenced in training.

    Returns:
        [..., D] to [..., H], not negative.
    """
    return nn.Sequential(nn.Linear(in_dim, width), nn.ReLU(), nn.Dropout(dropout))


class GatedAttention(nn.Module):
    """Equation 9 of Ilse et al. 2018, several times over: a_ig = w_g (tanh(V_g h_i) * sigmoid(U_g h_i))."""

    def __init__(self, width: int, attention: int, count: int = 1) -> None:
        super().__init__()
        self.count = count
        self.content = nn.Linear(width, count * attention)
        self.gate = nn.Linear(width, count * attention)
        self.weigh = nn.Parameter(torch.empty(count, attention))  # no bias: softmax would cancel it
        nn.init.kaiming_uniform_(self.weigh, a=5**0.5)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Weigh the tiles against each other.

        Args:
            hidden: Embedded tiles [B, N, H].
            mask: bool [B, N].

        Returns:
            float32 [B, N, G] for G = `count`: 0 at padding, 1 in sum over the tiles.
        """
        return masked_softmax(in_chunks(self.score, hidden), mask)  # [B, N, G]

    def score(self, hidden: Tensor) -> Tensor:
        """Attention before the softmax.

        Args:
            hidden: [B, N, H].

        Returns:
            [B, N, G].
        """
        gated = torch.tanh(self.content(hidden)) * torch.sigmoid(self.gate(hidden))  # [B, N, G * A]
        return torch.sum(gated.unflatten(-1, (self.count, -1)) * self.weigh, dim=-1)  # [B, N, G]
