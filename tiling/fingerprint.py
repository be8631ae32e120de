"""Names that follow from content: the same inputs give the same fingerprint, on every machine."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import PackageNotFoundError, version
from typing import Any


def fingerprint(**parts: Any) -> str:  # noqa: ANN401 - any JSON value
    """Hash named JSON values.

    Args:
        **parts: Values that JSON can hold; order does not matter.

    Returns:
        SHA-256 as 64 hex digits.

    >>> fingerprint(a=1, b=2) == fingerprint(b=2, a=1)
    True
    """
    return hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def software(distribution: str = "oncoscope") -> str:
    """Which version of a distribution this is.

    Args:
        distribution: Its name.

    Returns:
        Its version; `source` where it runs without being installed.
    """
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "source"
