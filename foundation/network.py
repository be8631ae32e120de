"""A torch network with its normalisation in front: bytes in, features out, on any device."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from foundation.spec import EncoderSpec


class Network(nn.Module):
    """(x / 255 - mean) / std as one multiply-add on the bytes, then the image model.

    Args:
        spec: What it is.
        module: Takes normalised images [B, 3, px, px], gives features [B, dim].
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, spec: EncoderSpec, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        scale = torch.tensor([1 / (255 * s) for s in spec.std]).view(1, 3, 1, 1)
        shift = torch.tensor([-m / s for m, s in zip(spec.mean, spec.std, strict=True)]).view(1, 3, 1, 1)
        self.register_buffer("scale", scale, persistent=False)
        self.register_buffer("shift", shift, persistent=False)

    def normalised(self, tiles: Tensor) -> Tensor:
        """What the image model sees.

        Args:
            tiles: RGB [B, px, px, 3], bytes.

        Returns:
            [B, 3, px, px], float32, channels last in memory.
        """
        return torch.addcmul(self.shift, tiles.permute(0, 3, 1, 2), self.scale)

    def forward(self, tiles: Tensor) -> Tensor:
        """Encode.

        Args:
            tiles: RGB [B, px, px, 3], bytes.

        Returns:
            [B, dim].
        """
        features: Tensor = self.module(self.normalised(tiles))
        return features

    def copied_to(self, device: torch.device) -> Network:
        """The same network on another device; this one stays where it is, and is not copied in between.

        Args:
            device: Where.

        Returns:
            The copy.
        """
        memo: dict[int, Any] = {id(buffer): buffer.to(device) for buffer in self.buffers()}
        for weight in self.parameters():
            memo[id(weight)] = nn.Parameter(weight.detach().to(device), requires_grad=False)
        return copy.deepcopy(self, memo)


def flops_of(network: Network, px: int) -> int | None:
    """Floating-point operations of one tile, counted on tensors without content.

    Args:
        network: The network.
        px: Side of a tile.

    Returns:
        Those of products of matrices, convolutions and attention, a multiply-add as two; None where a layer cannot be
        followed without content.
    """
    try:
        hollow = network.copied_to(torch.device("meta"))
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            hollow(torch.empty(1, px, px, 3, dtype=torch.uint8, device="meta"))
        return int(counter.get_total_flops())
    except Exception:  # noqa: BLE001 - models of others do as they like, and a report can do without the number
        return None
