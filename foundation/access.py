"""Where weights may come from and what encoders may be used for. The application says it once, before it loads any."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Policy = Literal["research", "commercial"]


@dataclass(frozen=True, slots=True)
class Access:
    """What this installation allows."""

    folder: Path | None = None
    """Weights of the user's: `<folder>/<key>/<file>`, beside it `<file>.sha256` where the user states the digest."""
    online: bool = False
    """Whether weights may be fetched from the hub; without it nothing is ever sent anywhere."""
    policy: Policy = "research"
    """`commercial` refuses every encoder whose licence is not known to allow that."""
    cache: Path | None = None
    """The hub's cache; None where huggingface_hub keeps it."""
    endpoint: str | None = None
    """Address of the hub or of a mirror; None for huggingface_hub's own."""


class _Chosen:
    access = Access()


def configure(access: Access) -> None:
    """Set what this process allows; the last call counts.

    Args:
        access: What is allowed.
    """
    _Chosen.access = access


def chosen() -> Access:
    """What this process allows.

    Returns:
        What `configure` was given last; offline research without a folder where it was not called.
    """
    return _Chosen.access
