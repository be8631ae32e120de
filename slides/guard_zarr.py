"""What an array of a Zarr slide may claim, by its metadata alone (Zarr v2 and v3)."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final

from slides.guard_limits import MOST_PIECE_BYTES, require_image, require_safe

if TYPE_CHECKING:
    from pathlib import Path

NAMES: Final = frozenset({".zarray", "zarr.json"})
MOST_METADATA: Final = 1 << 20
LEAST_CHUNK: Final = 16
"""Pixels a side, as for TIFF tiles: an image in single pixels takes hours to read."""


def check_zarr(path: Path) -> None:
    """Refuse absurd claims of an array.

    Args:
        path: Its metadata, one of `NAMES`; what is no array, or no JSON, is the reader's matter.
    """
    with path.open("rb") as file:
        check_array(file.read(MOST_METADATA + 1))


def check_array(content: bytes) -> None:
    """Refuse absurd claims of an array.

    Args:
        content: Its metadata; what is no array, or no JSON, is the reader's matter.
    """
    require_safe("the slide's metadata are longer than those of any slide", holds=len(content) <= MOST_METADATA)
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return
    shape, chunks = _sides(document, "shape"), _sides(document, "chunks")
    if len(shape) < 2 or len(shape) != len(chunks):
        return
    require_image(shape[-1], shape[-2])
    fine = all(chunk >= min(LEAST_CHUNK, side) for chunk, side in zip(chunks[-2:], shape[-2:], strict=True))
    require_safe("the slide is cut into pieces of a few pixels, which no scanner does", holds=fine)
    small = all(chunk > 0 for chunk in chunks) and math.prod(chunks) <= MOST_PIECE_BYTES
    require_safe("the slide claims tiles that are too large to decode", holds=small)


def _sides(document: Any, name: str) -> list[int]:  # noqa: ANN401 - JSON of strangers
    """A list of whole numbers; empty where there is none. Version 3 has chunks, or the chunks inside shards, deeper."""
    found = document.get(name) if isinstance(document, dict) else None
    if found is None and name == "chunks":
        codecs = _within(document, "codecs")
        inner = [_within(codec, "configuration", "chunk_shape") for codec in codecs] if isinstance(codecs, list) else []
        grid = _within(document, "chunk_grid", "configuration", "chunk_shape")
        found = next((each for each in inner if each is not None), grid)
    whole = isinstance(found, list) and all(type(side) is int for side in found)
    return list(found) if whole and found else []


def _within(document: Any, *names: str) -> Any:  # noqa: ANN401 - JSON of strangers
    """A value by its path; None where there is none."""
    for name in names:
        document = document.get(name) if isinstance(document, dict) else None
    return document
