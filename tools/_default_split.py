"""Which patches train, validate and judge the default encoder, and whatever is built on it."""

from __future__ import annotations

from typing import Literal

Part = Literal["train", "validation", "test"]
TEST, VALIDATION = 0.8, 0.68
"""Places in a class's row of file numbers at which the test and the validation part begin."""


def part_of(place: float) -> Part:
    """The part of a patch: contiguous blocks of file numbers, neighbours stay together.

    Args:
        place: Where the patch stands in its class's row of file names, 0 to 1.

    Returns:
        Its part.
    """
    return "test" if place >= TEST else "validation" if place >= VALIDATION else "train"
