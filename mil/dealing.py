"""Dealing the tiles of a bag into groups by what they are, so that order and company cannot change the deal."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

STEP, STIR = 0x9E3779B9, 0x2545F491
"""Odd numbers that spread bits: 2^32 over the golden ratio, and a multiplier of xorshift generators."""


def tile_numbers(standard: Tensor, count: int) -> Tensor:
    """Give each tile numbers that follow from the bits of its features alone.

    The same tile gets the same numbers in any bag, at any place, in any batch and on any machine; whole-number
    arithmetic has no rounding.

    Args:
        standard: Standardised features, float32 [B, N, D].
        count: Numbers R a tile.

    Returns:
        float32 [B, N, R], evenly spread over 0 up to, not including, 1.
    """
    bits = standard.detach().float().contiguous().view(torch.int32)  # [B, N, D]
    column = torch.arange(1, standard.shape[-1] + 1, device=bits.device) * STEP % 2**31 | 1  # [D], odd
    total = (bits * column.to(torch.int32)).sum(dim=-1)  # int64 [B, N]; each product wraps round
    salted = (total[..., None] + torch.arange(1, count + 1, device=bits.device) * STEP) % 2**32  # [B, N, R]
    for shift in (15, 13, 16):
        salted = (salted ^ (salted >> shift)) * STIR % 2**32  # [B, N, R]
    return (salted >> 8).float() / 2**24  # 24 bits are exact in float32


def deal(hidden: Tensor, mask: Tensor, group: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Make one bag of each group of tiles.

    Args:
        hidden: Tiles [B, N, H].
        mask: bool [B, N].
        group: The group of each tile, 0 up to `count`, int64 [B, N].
        count: Groups M of a bag.

    Returns:
        Parts [B * M, L, H], 0 at padding; their mask bool [B * M, L], all False where a group is empty; and where each
        tile went, as an index into the first two axes of the parts, flattened, int64 [B, N].
    """
    member = functional.one_hot(group, count) * mask[..., None]  # int64 [B, N, M]
    rank = member.cumsum(dim=1).gather(2, group[..., None]).squeeze(-1) - 1  # [B, N], place within the group
    length = int(member.sum(dim=1).max())
    row = torch.arange(len(hidden), device=hidden.device)[:, None] * count + group  # [B, N]
    place = (row * length + rank.clamp(min=0)).masked_fill(~mask, 0)  # [B, N]
    parts = hidden.new_zeros(len(hidden) * count * length, hidden.shape[-1])  # [B * M * L, H]
    parts[place[mask]] = hidden[mask]
    shown = torch.zeros(len(parts), dtype=torch.bool, device=hidden.device)  # [B * M * L]
    shown[place[mask]] = True
    return parts.unflatten(0, (-1, length)), shown.unflatten(0, (-1, length)), place
