"""Write one file so that readers see the old one or the new one, never a part."""

from __future__ import annotations

import os
from pathlib import Path

from tiling.commit import sync


def write_whole(path: Path, content: bytes) -> None:
    """Write a file beside its place, through to the disk, and rename it.

    Args:
        path: The file; its folder is made if it is not there.
        content: All of it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.part")
    try:
        draft.write_bytes(content)
        sync(draft)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    sync(path.parent)
