"""A small network of our own for stained tissue: 1.4 million weights, trained here on patches of breast tissue.

Plain residual convolutions (He et al., arXiv:1512.03385), because those are what a CPU computes fastest; each stage
hands its mean and deviation over the tile to the features, because texture and colour tell tissues apart as shapes do.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from foundation.checkpoint import load_exactly
from foundation.int8 import unpacked
from foundation.row_weights import read_row
from foundation.spec import EncoderSpec
from foundation.torch_encoder import TorchEncoder

WIDTHS = (24, 48, 96, 192)
DEPTHS = (1, 2, 1)
"""Residual blocks at 1/4, 1/8 and 1/16 of the tile's side."""
DIM = 256


def load(key: str, weights: Path | None, spec: EncoderSpec | None) -> TorchEncoder:
    """Load the small network.

    Args:
        key: Its name.
        weights: A file of weights, or None for those that ship with oncoscope.
        spec: Its row of the table.

    Returns:
        The encoder.
    """
    row, packed, digest = read_row(key, weights, spec)
    module = architecture()
    load_exactly(module, unpacked(packed), key)
    return TorchEncoder(row, module, digest)


def architecture() -> SmallNetwork:
    """Build the empty network without batch normalisation, as it ships.

    Returns:
        Images [B, 3, 128, 128], -1 to 1, to features [B, 256].
    """
    return SmallNetwork(normalised=False).eval()


class SmallNetwork(nn.Module):
    """The network.

    Args:
        normalised: With batch normalisation after each convolution, as it is trained; without, as it ships.
    """

    def __init__(self, *, normalised: bool) -> None:
        super().__init__()
        first, *others = WIDTHS
        self.stem = convolution(3, first, normalised=normalised, stride=2)
        stages = []
        for before, width, depth in zip(WIDTHS, others, DEPTHS, strict=False):
            blocks = [Residual(width, normalised=normalised) for _ in range(depth)]
            stages.append(
                nn.Sequential(convolution(before, width, normalised=normalised, stride=2), nn.ReLU(), *blocks)
            )
        self.stages = nn.ModuleList(stages)
        self.last = nn.Linear(2 * sum(others), DIM)

    def forward(self, images: Tensor) -> Tensor:
        """Compute features.

        Args:
            images: [B, 3, H, W].

        Returns:
            [B, 256].
        """
        plane = functional.relu(self.stem(images))
        parts = []
        for stage in self.stages:
            plane = stage(plane)
            flat = plane.flatten(2)
            mean = flat.mean(2)
            parts += [mean, (flat.square().mean(2) - mean.square()).clamp_min(1e-4).sqrt()]
        features: Tensor = self.last(torch.cat(parts, dim=1))
        return features


class Residual(nn.Module):
    """Two convolutions and a way past them."""

    def __init__(self, width: int, *, normalised: bool) -> None:
        super().__init__()
        self.one = convolution(width, width, normalised=normalised)
        self.two = convolution(width, width, normalised=normalised)

    def forward(self, plane: Tensor) -> Tensor:
        """Add to a plane what was found in it."""
        found: Tensor = functional.relu(plane + self.two(functional.relu(self.one(plane))))
        return found


def convolution(before: int, after: int, *, normalised: bool, stride: int = 1) -> nn.Module:
    """A 3 x 3 convolution, with batch normalisation in training."""
    conv = nn.Conv2d(before, after, 3, stride, padding=1, bias=not normalised)
    return nn.Sequential(conv, nn.BatchNorm2d(after)) if normalised else conv
