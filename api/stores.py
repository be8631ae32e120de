"""Stores on disk, by what stands at a path."""

from __future__ import annotations

from pathlib import Path

from api.errors import BadRequestError
from tiling import NotAStoreError, TileStore, read_manifest


def is_store(path: Path | str) -> bool:
    """Whether a committed store stands at a path, and not a slide.

    Args:
        path: Any path, or an `s3://` address.

    Returns:
        True for a tile or embeddings store.
    """
    return kind_of(path) is not None


def kind_of(path: Path | str) -> str | None:
    """What kind of store stands at a path.

    Args:
        path: Any path, or an `s3://` address.

    Returns:
        `oncoscope-tiles`, `oncoscope-embeddings` or another kind; None where no store stands.
    """
    try:
        return str(read_manifest(path).get("kind"))
    except NotAStoreError:
        return None


def open_tiles(path: Path) -> TileStore:
    """Open a tile store to read its pixels.

    Args:
        path: Its folder.

    Returns:
        The store.

    Raises:
        BadRequestError: If it was made without pixels.
    """
    store = TileStore.open(path)
    if store.keep == "no":
        raise BadRequestError("this store keeps no pixels (--keep no); run the command on the slide instead")
    return store
