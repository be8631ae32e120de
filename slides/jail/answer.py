"""What a child says, before it is believed: it may have been taken over by its slide."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn

import slides.errors
from slides.errors import BadMppError, DamagedSlideError, RegionError, SlideError
from slides.guard_limits import require_image
from slides.info import SlideInfo
from slides.slide import Source

if TYPE_CHECKING:
    from slides.jail import wire

HASH: Final = re.compile(r"[0-9a-f]{64}")
MOST_WARNINGS: Final = 64
MOST_TEXT: Final = 2000
"""Characters of a child's sentence; one that was taken over may say anything."""
NONSENSE: Final = (KeyError, TypeError, ValueError, AttributeError, BadMppError, RegionError)
"""What reading an answer raises that makes no sense."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What a child says of its slide."""

    info: SlideInfo
    sources: tuple[Source, ...]
    reads_sparsely: bool
    known: list[Any]
    """What it learnt that makes opening the slide quick the next time."""
    layers: dict[str, int]
    """What it gave up, see `confine`."""


def understood(answer: wire.Message) -> Opened:
    """A child's description of its slide.

    Args:
        answer: What it said; `NONSENSE` is raised where that makes no sense.

    Returns:
        The description.
    """
    info = SlideInfo.from_json(answer["info"])
    require_plain(info)
    sources = tuple(Source(**source) for source in answer["sources"])
    return Opened(info, sources, bool(answer["sparse"]), answer["known"], answer["layers"])


def checked_shape(answer: wire.Message, most: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of an answer.

    Args:
        answer: What the child said.
        most: The memory that was set aside for it.

    Returns:
        A shape that fits.

    Raises:
        ValueError: If it has none that fits.
    """
    shape = answer.get("shape")
    if not isinstance(shape, list) or len(shape) != len(most):
        raise ValueError
    if not all(isinstance(side, int) and 0 < side <= limit for side, limit in zip(shape, most, strict=True)):
        raise ValueError
    return tuple(shape)


def require_plain(info: SlideInfo) -> None:
    """What a child says becomes names of stores and text of reports: refuse what no reader of ours says.

    Args:
        info: What it said.

    Raises:
        ValueError: If it is not plain.
    """
    texts = (info.format, info.reader, info.reader_reason, info.mpp_source, info.decode, *info.warnings)
    sides = [side for size in (info.size, *(level.size for level in info.levels)) for side in (size.width, size.height)]
    plain = all(type(text) is str and len(text) <= MOST_TEXT and text.isprintable() for text in texts)
    whole = all(type(side) is int for side in sides) and len(info.warnings) <= MOST_WARNINGS
    if not (plain and whole and HASH.fullmatch(info.content_hash)):
        raise ValueError
    for level in info.levels:
        require_image(level.size.width, level.size.height)


def raise_reported(answer: wire.Message) -> NoReturn:
    """Raise what a child reports; what is no error of ours is a damaged slide.

    Args:
        answer: What it said.
    """
    kind = getattr(slides.errors, str(answer["error"]), None)
    detail = str(answer.get("detail"))
    known = isinstance(kind, type) and issubclass(kind, SlideError)
    plain = len(detail) <= MOST_TEXT and detail.isprintable()
    raise (kind if known and kind else DamagedSlideError)(detail if plain else "the slide cannot be read")
