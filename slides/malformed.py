"""What parsers raise for headers that are not as they should be, and one way to make an error of ours of it."""

from __future__ import annotations

import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING

from slides.errors import DamagedSlideError

if TYPE_CHECKING:
    from collections.abc import Iterator

MALFORMED = (
    *(ValueError, TypeError, LookupError, AttributeError, ArithmeticError, struct.error),
    *(NotImplementedError, RecursionError, EOFError),
)
"""tifffile and pydicom convert values when they are asked for, so any use of a damaged header may raise these."""


@contextmanager
def header_is_read() -> Iterator[None]:
    """Report whatever a parser stumbles over as damage.

    Yields:
        Nothing.

    Raises:
        DamagedSlideError: If the header cannot be understood.
    """
    try:
        yield
    except MALFORMED as error:
        msg = "the slide's header is damaged"
        raise DamagedSlideError(msg) from error
