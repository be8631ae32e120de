"""From one size to another: area average when shrinking, linear when enlarging, and nothing where sizes agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from slides.geometry import Size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from slides.geometry import Region
    from slides.slide import Tiles


def resample_parts(pixels: NDArray[np.uint8], whole: Region, parts: Sequence[Region], tiles: Tiles) -> None:
    """Cut parts out of an image, each scaled to the size of its tile.

    Args:
        pixels: RGB [whole.height, whole.width, 3].
        whole: Where the image lies.
        parts: What to cut, in the same pixels.
        tiles: Where it goes, RGB [h, w, 3] each.
    """
    for tile, part in zip(tiles, parts, strict=True):
        x, y = part.x - whole.x, part.y - whole.y
        image = pixels[y : y + part.height, x : x + part.width]
        tile[:] = resample(image, Size(tile.shape[1], tile.shape[0]))


def resample(image: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Scale an image: area average when shrinking, linear when enlarging.

    Args:
        image: RGB [H, W, 3].
        size: The wanted size.

    Returns:
        RGB [size.height, size.width, 3].
    """
    if image.shape[:2] == (size.height, size.width):
        return image
    shrinks = image.shape[0] >= size.height and image.shape[1] >= size.width
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (size.width, size.height), interpolation=method), np.uint8)
