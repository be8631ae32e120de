"""Libraries that only some need, by the extra that brings them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from foundation.errors import InterchangeError


def library(module: str, extra: str) -> Any:  # noqa: ANN401 - a module, whose names nobody here can know
    """Import a library on first use.

    Args:
        module: What to import.
        extra: The extra of oncoscope that brings it.

    Returns:
        The module.

    Raises:
        InterchangeError: If it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise InterchangeError(
            f"This layout needs the extra {extra!r}: install it with pip install 'oncoscope[{extra}]'."
        ) from error
