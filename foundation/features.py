"""Tiles as an encoder takes them, features as they are stored."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from foundation.encoder import Encoder
from foundation.errors import BadFeaturesError

BATCH = 16
"""Tiles in a call on the CPU. From 16 on, torch gives all convolutions of the built-in encoder to oneDNN on one core;
with all batches of one shape, neither the place in a batch nor its other tiles change a bit of a tile's features."""
_INTERPOLATION = {"nearest": cv2.INTER_NEAREST, "bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}


def encode_batch(encoder: Encoder, tiles: NDArray[np.uint8], batch: int) -> NDArray[np.float32]:
    """Encode a batch of the fixed shape.

    Args:
        encoder: What to run.
        tiles: RGB [n, side, side, 3], n at most `batch`.
        batch: Tiles that the encoder is given; the last one is repeated to fill up.

    Returns:
        [n, D].
    """
    tiles = resized(tiles, encoder.spec.tile_px, encoder.spec.interpolation)
    missing = batch - len(tiles)
    filled = np.concatenate([tiles, np.repeat(tiles[-1:], missing, axis=0)]) if missing else tiles
    return encoder.encode(filled)[: len(tiles)]


def resized(tiles: NDArray[np.uint8], px: int, interpolation: str) -> NDArray[np.uint8]:
    """Tiles of the size that an encoder takes: other ones come only where the caller overrode the contract.

    Args:
        tiles: RGB [n, side, side, 3].
        px: The side to be.
        interpolation: How they are made larger; smaller they are made by area, for the encoder's own way would alias.

    Returns:
        [n, px, px, 3].
    """
    if tiles.shape[1] == px:
        return tiles
    how = cv2.INTER_AREA if tiles.shape[1] > px else _INTERPOLATION.get(interpolation, cv2.INTER_CUBIC)
    return np.stack([np.asarray(cv2.resize(tile, (px, px), interpolation=how), np.uint8) for tile in tiles])


def usable(rows: NDArray[np.float32]) -> NDArray[np.float16]:
    """Features as they are stored.

    Args:
        rows: [n, D].

    Returns:
        The same as float16.

    Raises:
        BadFeaturesError: If a row is not finite (also as float16), zero, or one number throughout.
    """
    with np.errstate(over="ignore"):
        stored = rows.astype(np.float16)
    if not np.isfinite(stored).all():
        raise BadFeaturesError("The encoder gave features that are not finite numbers or too large to store.")
    if rows.shape[1] > 1 and (np.ptp(stored, axis=1) == 0).any():
        raise BadFeaturesError("The encoder gave a tile features that are all zero or all alike.")
    return stored


def require_spread(features: NDArray[np.float16]) -> None:
    """Refuse features of a slide that say nothing.

    Args:
        features: Of all tiles of a zoom, [N, D].

    Raises:
        BadFeaturesError: If all tiles have the same.
    """
    if len(features) > 1 and (features == features[0]).all():
        raise BadFeaturesError("The encoder gave every tile the same features, so they say nothing.")
