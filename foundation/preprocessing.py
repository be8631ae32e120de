"""From a tile of the store to the pixels that a network sees: resized and cropped as the row of the encoder says."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from foundation.errors import ContractError
from foundation.spec import EncoderSpec

RESAMPLING: Final = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
"""Pillow's, since encoders were trained on what Pillow makes; it widens its filter when it shrinks an image."""


def prepared(tiles: NDArray[np.uint8], spec: EncoderSpec) -> NDArray[np.uint8]:
    """Bring tiles to the side that the network takes; most encoders take them as they are, and nothing is copied.

    Args:
        tiles: RGB tiles [B, tile_px, tile_px, 3].
        spec: What the encoder must be fed.

    Returns:
        RGB tiles [B, px, px, 3].

    Raises:
        ContractError: If the tiles have another shape or kind.
    """
    side = spec.tile_px
    if tiles.dtype != np.uint8 or tiles.ndim != 4 or tiles.shape[1:] != (side, side, 3):
        raise ContractError(
            f"Encoder {spec.key!r} takes RGB tiles of {side} x {side} bytes, not {tiles.dtype} {tiles.shape}."
        )
    resized = tiles if spec.resize in {None, side} else _resized(tiles, spec.resize, RESAMPLING[spec.interpolation])
    return _middle(resized, spec.crop or resized.shape[1])


def _resized(tiles: NDArray[np.uint8], side: int, how: Image.Resampling) -> NDArray[np.uint8]:
    # An empty batch has no image to take the shape from.
    out = np.empty((len(tiles), side, side, 3), np.uint8)
    for into, tile in zip(out, tiles, strict=True):
        into[:] = np.asarray(Image.fromarray(np.ascontiguousarray(tile)).resize((side, side), how))
    return out


def _middle(tiles: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    start = (tiles.shape[1] - side) // 2
    return tiles[:, start : start + side, start : start + side]
