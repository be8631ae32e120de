"""Slides that kill their decoders: deaths are counted by content, and after the third the slide is not opened again.

Plain files in one folder, `<bytes>-<sha256>.<death>`: making one is atomic, so processes need no lock, and an operator
who knows better removes them. Where they cannot be written, at least this process remembers; `oncoscope doctor` tells.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from slides.errors import QuarantinedSlideError
from slides.guard import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

DEATHS: Final = 3
"""One may be chance and two bad luck: the machine was out of memory, or very slow."""
BLOCK: Final = 1 << 20
_unwritten: Final[dict[str, list[str]]] = {}
"""Content -> causes of the deaths that this process could not write down."""


def folder_of(stated: str | None) -> Path:
    """Where deaths are remembered.

    Args:
        stated: The folder that the jail names, if it does.

    Returns:
        That, or one in the user's own state; users without a home, as containers have them, have one with the
        temporary files.
    """
    if stated:
        return Path(stated)
    try:
        return Path.home() / ".local" / "state" / "oncoscope" / "quarantine"
    except RuntimeError:
        return Path(tempfile.gettempdir()) / f"oncoscope-quarantine-{os.getuid()}"


def require_free(folder: Path, path: Path) -> None:
    """Refuse a slide that is in quarantine. A slide is read for this only where one of its size is.

    Args:
        folder: Where deaths are remembered.
        path: The slide.

    Raises:
        QuarantinedSlideError: If it is.
    """
    if not (_unwritten or _has(folder, f"*.{DEATHS}")):
        return
    size = total_bytes(path)
    if not (_has(folder, f"{size}-*.{DEATHS}") or any(name.startswith(f"{size}-") for name in list(_unwritten))):
        return
    name = _name(path)
    if len(_unwritten.get(name, [])) >= DEATHS or _has(folder, f"{name}.{DEATHS}"):
        msg = f"the slide is in quarantine: the process that decodes it died {DEATHS} times"
        raise QuarantinedSlideError(msg)


def remember(folder: Path, path: Path, cause: str) -> bool:
    """Count a death.

    Args:
        folder: Where deaths are remembered; made if it is missing.
        path: The slide.
        cause: How the process ended.

    Returns:
        Whether it could be written down; if not, this process alone remembers it.
    """
    name = _name(path)
    try:
        _write(folder, name, cause)
    except OSError:
        _unwritten.setdefault(name, []).append(cause)
        return False
    return True


def _has(folder: Path, pattern: str) -> bool:
    """Whether there is such an entry; a folder that cannot be looked at has none."""
    try:
        return any(folder.glob(pattern))
    except OSError:
        return False


def _write(folder: Path, name: str, cause: str) -> None:
    """Make the file of the next death of some content."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for death in range(1, DEATHS + 1):
        with suppress(FileExistsError):
            handle = os.open(folder / f"{name}.{death}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump({"cause": cause, "time": round(time.time())}, file)
            return


def total_bytes(path: Path) -> int:
    """The size of a slide with its companions.

    Args:
        path: The slide.

    Returns:
        Bytes of all its files.
    """
    return sum(file.stat().st_size for file in _files(path))


def _name(path: Path) -> str:
    """Size and hash of a slide's bytes."""
    state = tuple((str(file), *_state(file)) for file in _files(path))
    return _hashed(state)


def _state(file: Path) -> tuple[int, int, int]:
    found = file.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino


@lru_cache(maxsize=256)
def _hashed(state: tuple[tuple[str, int, int, int], ...]) -> str:
    """The name of a slide's content, whatever its files are called; not read again while they are unchanged."""
    digests = []
    for file, *_ in state:
        digest = hashlib.sha256()
        with Path(file).open("rb") as stream:
            while block := stream.read(BLOCK):
                digest.update(block)
        digests.append(digest.digest())
    whole = digests[0] if len(digests) == 1 else hashlib.sha256(b"".join(sorted(digests))).digest()
    return f"{sum(size for _, size, _, _ in state)}-{whole.hex()}"


def _files(path: Path) -> Iterator[Path]:
    """The regular files that a slide is made of."""
    for place in visible(path):
        if place.is_dir():
            inside = place.rglob("*") if place == path else place.iterdir()
            yield from (file for file in sorted(inside) if file.is_file() and not file.is_symlink())
        elif place.is_file():
            yield place
