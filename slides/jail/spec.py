"""How strict a jail is; part of an address, so it travels wherever the slide is opened."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Jail:
    """Limits of the process that decodes a slide."""

    memory_bytes: int = 2 << 30
    """What it may allocate: twenty times what a block of tiles takes, and less than a small machine has."""
    seconds: float = 8.0
    """Wall-clock time of a request, on top of what its pixels and the file's bytes take on a slow machine; good slides
    answer in a tenth of it. The process is ended then."""
    threads: int = 4
    """Requests that are worked on at once."""
    quarantine: str | None = None
    """Folder in which deaths are remembered by content; None is one in the user's own state."""
