"""What a JPEG stream says of its size, asked before any decoder allocates or loops for it (ITU-T T.81, annex B.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from slides.geometry import Size

FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of frame headers."""
BEFORE: Final = frozenset({0xC4, 0xCC, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)})
"""Markers of the segments that may stand before one. Anything else, which decoders skip in ways of their own, ends the
walk: it must not step over a header that a decoder would take."""
MOST_SEGMENTS: Final = 256
"""A colour profile has one for each 64 KB."""
FILL: Final = 0xFF


def require_size(stream: bytes, tile: Size) -> None:
    """Refuse a stream that holds another image than the slide's index says.

    Args:
        stream: A whole JPEG stream.
        tile: Size by the index.

    Raises:
        ValueError: If it does.
    """
    if frame_size(stream) != (tile.width, tile.height):
        msg = "the stream does not hold a tile of the size that the index gives"
        raise ValueError(msg)


def frame_size(stream: bytes) -> tuple[int, int] | None:
    """What a JPEG stream says of its size (B.2.2).

    Args:
        stream: Its start.

    Returns:
        Width and height, or None where no frame header is in sight.
    """
    at = 2
    for _ in range(MOST_SEGMENTS):
        head = stream[at : at + 9]
        if len(head) < 9 or head[0] != FILL:
            return None
        marker = head[1]
        if marker in BEFORE:
            at += 2 + (head[2] << 8 | head[3])
        elif marker in FRAMES:
            return head[7] << 8 | head[8], head[5] << 8 | head[6]
        elif marker == FILL:
            at += 1
        else:
            return None
    return None
