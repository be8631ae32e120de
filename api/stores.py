"""Stores on disk, by what stands at a path."""

from __future__ import annotations

from pathlib import Path

from tiling import NotAStoreError, read_manifest


def is_store(path: Path) -> bool:
    """Whether a committed store stands at a path, and not a slide.

    Args:
        path: Any path.

    Returns:
        True for a tile or embeddings store.
    """
    return kind_of(path) is not None


def kind_of(path: Path) -> str | None:
    """What kind of store stands at a path.

    Args:
        path: Any path.

    Returns:
        `oncoscope-tiles`, `oncoscope-embeddings` or another kind; None where no store stands.
    """
    try:
        return str(read_manifest(path).get("kind"))
    except NotAStoreError:
        return None
