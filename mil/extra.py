"""Libraries of the extra `train`, loaded on first use; scoring a slide needs none of them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from mil.errors import ExtraError


def library(name: str) -> Any:  # noqa: ANN401 - modules of others, most without types
    """Import a module of a library that comes with the extra `train`.

    Args:
        name: Such as `sklearn.linear_model`.

    Returns:
        The module.

    Raises:
        ExtraError: It is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise ExtraError(
            f"This needs {name.partition('.')[0]}, which comes with: pip install 'oncoscope[train]'."
        ) from error
