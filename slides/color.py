"""Colour repairs: alpha over white."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


def over_white(
    bgra: NDArray[np.uint8], colours: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] | None = None
) -> NDArray[np.uint8]:
    """Lay premultiplied pixels over white glass.

    Args:
        bgra: [H, W, 4], colours multiplied by alpha, as OpenSlide gives them on little-endian machines.
        colours: Converts what was scanned, and not the glass where nothing was, or None.

    Returns:
        RGB [H, W, 3].
    """
    rgb = np.ascontiguousarray(cv2.cvtColor(bgra, cv2.COLOR_BGRA2RGB), np.uint8)
    alpha = bgra[:, :, 3:]
    opaque = bool(alpha.min() == 255)
    seen = rgb if opaque else np.asarray(rgb + (255 - alpha), np.uint8)  # premultiplied: the sum cannot overflow
    return seen if colours is None else np.where(alpha == 0, np.uint8(255), colours(seen))
