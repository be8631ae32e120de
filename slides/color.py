"""Colour repairs: alpha over white, and DICOM files whose header misnames the colour space of their JPEG."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def over_white(bgra: NDArray[np.uint8], *, as_ycbcr: bool = False) -> NDArray[np.uint8]:
    """Lay premultiplied pixels over white glass.

    Args:
        bgra: [H, W, 4], colours multiplied by alpha, as OpenSlide gives them on little-endian machines.
        as_ycbcr: The colour channels hold YCbCr that was taken for RGB; convert them.

    Returns:
        RGB [H, W, 3].
    """
    rgb = np.ascontiguousarray(cv2.cvtColor(bgra, cv2.COLOR_BGRA2RGB), np.uint8)
    alpha = bgra[:, :, 3:]
    if as_ycbcr:
        rgb = np.asarray(cv2.cvtColor(np.ascontiguousarray(rgb[:, :, [0, 2, 1]]), cv2.COLOR_YCrCb2RGB), np.uint8)
        return rgb if alpha.all() else np.where(alpha == 0, np.uint8(255), rgb)
    opaque = bool(alpha.min() == 255)
    return rgb if opaque else np.asarray(rgb + (255 - alpha), np.uint8)  # premultiplied: the sum cannot overflow
