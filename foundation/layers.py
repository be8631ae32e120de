"""Layers that a row of the table may ask an architecture to be built with: names, never code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from foundation.errors import RegistryError
from foundation.torchvision_shim import import_beside

STEM_PATCH = 4


class ConvStem(nn.Module):
    """The stem of CTransPath, in place of Swin's patch embedding.

    Two 3 x 3 convolutions of stride 2, each normalised over the batch and rectified, then one of 1 x 1, so that 4 x 4
    pixels become one token (Wang et al., Medical Image Analysis 2022, doi 10.1016/j.media.2022.102559). Parameters are
    named as in its published checkpoints.

    Args:
        img_size: Side of the image in pixels, or (height, width).
        patch_size: Side of a token in pixels; 4.
        in_chans: Colours.
        embed_dim: Width of a token.
        norm_layer: Of the tokens, made from their width; None for none.
        _unused: What else timm's Swin hands to a patch embedding.

    Raises:
        RegistryError: If a token is not of 4 x 4 pixels.
    """

    def __init__(
        self,
        img_size: int | tuple[int, int] = 224,
        patch_size: int = STEM_PATCH,
        in_chans: int = 3,
        embed_dim: int = 96,
        norm_layer: Callable[[int], nn.Module] | None = None,
        **_unused: object,
    ) -> None:
        super().__init__()
        if patch_size != STEM_PATCH:
            raise RegistryError(f"The convolutional stem makes tokens of 4 x 4 pixels, not of {patch_size}.")
        height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
        self.patch_size = (STEM_PATCH, STEM_PATCH)
        self.grid_size = (height // STEM_PATCH, width // STEM_PATCH)
        self.num_patches = self.grid_size[0] * self.grid_size[1]
        self.proj = nn.Sequential(
            *_half(in_chans, embed_dim // 8),
            *_half(embed_dim // 8, embed_dim // 4),
            nn.Conv2d(embed_dim // 4, embed_dim, 1),
        )
        self.norm = norm_layer(embed_dim) if norm_layer else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """Cut into tokens.

        Args:
            images: [B, C, H, W].

        Returns:
            [B, H / 4, W / 4, embed_dim].
        """
        tokens: Tensor = self.norm(self.proj(images).permute(0, 2, 3, 1))
        return tokens


def _half(before: int, after: int) -> tuple[nn.Module, ...]:
    """A convolution that halves the sides."""
    return nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)


LAYERS: dict[str, Callable[[], Any]] = {
    "ConvStem": lambda: ConvStem,
    "GELU": lambda: nn.GELU,
    "LayerNorm1e-12": lambda: partial(nn.LayerNorm, eps=1e-12),
    "SiLU": lambda: nn.SiLU,
    "SwiGLUPacked": lambda: import_beside("timm").layers.SwiGLUPacked,
}
"""The layers by name, made on first use: timm is imported late."""


def resolved(kwargs: Mapping[str, object]) -> dict[str, Any]:
    """Put layers where their names stand.

    Args:
        kwargs: What a row says its architecture is built with; each string is the name of a layer.

    Returns:
        The same with layers.

    Raises:
        RegistryError: If a name is not one of `LAYERS`.
    """
    unknown = sorted(str(value) for value in kwargs.values() if isinstance(value, str) and value not in LAYERS)
    if unknown:
        raise RegistryError(f"There is no layer named {unknown[0][:80]!r}; known are {', '.join(sorted(LAYERS))}.")
    return {key: LAYERS[value]() if isinstance(value, str) else value for key, value in kwargs.items()}
