"""How a claim is refused, and the largest image that a slide may claim, whatever its container."""

from __future__ import annotations

from typing import Final

from slides.errors import DamagedSlideError, UnsafeSlideError

MOST_SIDE: Final = 1 << 20
"""Pixels: the long side of a glass slide, 75 mm, at 0.07 um/px."""
MOST_AREA: Final = 1 << 38
"""Pixels: a whole glass slide, 75 x 25 mm, at 0.083 um/px; formats that count its empty parts come near."""
MOST_TILES: Final = 1 << 22
"""The largest area in tiles of 256 x 256."""
MOST_PIECE_BYTES: Final = 1 << 28
"""Decoded bytes of one tile, strip or frame: the largest tile with four 32-bit channels."""


def require_safe(complaint: str, *, holds: bool) -> None:
    """Refuse an absurd claim.

    Args:
        complaint: What is wrong, for users.
        holds: Whether the claim is plausible.

    Raises:
        UnsafeSlideError: If it is not.
    """
    if not holds:
        raise UnsafeSlideError(complaint)


def require_whole(complaint: str, *, holds: bool) -> None:
    """Refuse an index that contradicts itself or the file.

    Args:
        complaint: What is wrong, for users.
        holds: Whether it fits.

    Raises:
        DamagedSlideError: If it does not.
    """
    if not holds:
        raise DamagedSlideError(complaint)


def require_image(width: int, height: int) -> None:
    """Refuse an image that no scanner makes.

    Args:
        width: Claimed pixels.
        height: Claimed pixels.
    """
    require_whole("the slide's index is damaged: it claims an empty image", holds=width > 0 and height > 0)
    require_safe(
        f"the slide claims {width} x {height} px, which is more than a slide can have",
        holds=max(width, height) <= MOST_SIDE and width * height <= MOST_AREA,
    )
