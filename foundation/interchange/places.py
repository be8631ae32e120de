"""Places of tiles that others wrote: whole level-0 pixels inside 64 bits."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from foundation.errors import InterchangeError

LIMIT: Final = 1 << 40
"""Level-0 pixels; no slide is a million times as wide as a large one, and sums of such numbers stay inside 64 bits."""


def whole_places(places: NDArray[Any]) -> NDArray[np.int64]:
    """Take places that have to be whole.

    Args:
        places: Level-0 x, y, [N, 2], of any kind of number.

    Returns:
        The same as 64-bit integers.

    Raises:
        InterchangeError: If one is no whole number or no place on a slide.
    """
    if places.dtype.kind == "f" and (not np.isfinite(places).all() or (places != np.rint(places)).any()):
        raise InterchangeError("The places of the tiles are not whole level-0 pixels.")
    if (places > LIMIT).any() or (places < -LIMIT).any():
        raise InterchangeError("The places of the tiles lie on no slide.")
    return np.asarray(places.astype(np.int64))


def rounded_places(places: NDArray[np.float64]) -> tuple[NDArray[np.int64], bool]:
    """Take places that were computed from micrometres.

    Args:
        places: Level-0 x, y, [N, 2].

    Returns:
        The nearest whole pixels, and whether one was further from there than a twentieth of a pixel and what 32 bits
        of micrometres leave open.

    Raises:
        InterchangeError: If one is no number or no place on a slide.
    """
    if not np.isfinite(places).all():
        raise InterchangeError("The places of the tiles are not finite numbers.")
    nearest = np.rint(places)
    open_to_32_bits = 0.05 + np.abs(places) * np.finfo(np.float32).eps
    return whole_places(nearest), bool((np.abs(places - nearest) > open_to_32_bits).any())
