"""What the coordinates of a GeoJSON document count from.

Inside this project every place is a level-0 pixel of the whole slide. QuPath shows less of slides whose vendor says
which part was scanned (MRXS, Leica, Ventana): its OpenslideImageServer.java takes the size of the bounds for the size
of the image and adds their corner to every place that it reads, so 0, 0 there is the corner of the bounds. The two
frames differ by exactly (bounds.x, bounds.y); without bounds they are the same.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from slides import SlideInfo

Frame = Literal["slide", "bounds"]
"""`slide`: the corner of the whole slide; `bounds`: that of the scanned part, as QuPath has it."""
MEMBER: Final = "oncoscope"
"""Name of the member of a document that says what it counts from; readers of GeoJSON ignore unknown members."""


def origin_of(info: SlideInfo, frame: Frame) -> tuple[int, int]:
    """The level-0 pixel that a document calls 0, 0.

    Args:
        info: The slide.
        frame: What the document counts from.

    Returns:
        x, y in level-0 pixels of the whole slide; add them to a document's coordinates.
    """
    return (info.bounds.x, info.bounds.y) if frame == "bounds" else (0, 0)


def stated(frame: Frame, origin: tuple[int, int]) -> dict[str, Any]:
    """How a document says what it counts from, for programs that count in pixels of the whole slide.

    Args:
        frame: What it counts from.
        origin: Which level-0 pixel that is, from `origin_of`.

    Returns:
        A member for the top of the document.
    """
    return {MEMBER: {"frame": frame, "origin": list(origin)}}


def contradicts(document: object, origin: tuple[int, int]) -> bool:
    """Whether a document says that it counts from another place; QuPath writes documents that say nothing.

    Args:
        document: A parsed GeoJSON document.
        origin: What it is taken to count from.

    Returns:
        True where its coordinates would be put in the wrong place.
    """
    said = document.get(MEMBER) if isinstance(document, dict) else None
    return isinstance(said, dict) and said.get("origin", list(origin)) != list(origin)
