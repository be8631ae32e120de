"""The table of layouts, and the two verbs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import h5py

from foundation.embeddings import Embeddings
from foundation.errors import InterchangeError
from foundation.interchange import anndata_table, guarded, spatialdata_store, stamp, trident
from foundation.interchange.stored import ImportOptions, store
from foundation.interchange.tiles import Found, Tiles, tiles_of
from slides import Mpp

WRITERS: Final[Mapping[str, Callable[[Tiles, Path], list[Path]]]] = {
    "trident": trident.write_trident,
    "clam": trident.write_clam,
    "stamp": stamp.write_stamp,
    "anndata": anndata_table.write_anndata,
    "spatialdata": spatialdata_store.write_spatialdata,
}
READERS: Final[Mapping[str, Callable[[h5py.File, Mpp | None], Found]]] = {
    "trident": trident.read,
    "clam": trident.read,
    "stamp": stamp.read,
    "anndata": anndata_table.read,
}


def export_features(
    embeddings: Embeddings, layout: str, out: Path, *, mpp: float | None = None, name: str | None = None
) -> list[Path]:
    """Write one zoom of a slide in the layout of another tool.

    Args:
        embeddings: The slide's.
        layout: One of `WRITERS`.
        out: The folder; made where missing.
        mpp: The zoom, um/px; None where there is only one.
        name: A pseudonym for the files; the slide's if None.

    Returns:
        The files, each of them whole; the one that holds the features last.

    Raises:
        InterchangeError: If there is no such layout.
    """
    if layout not in WRITERS:
        raise InterchangeError(f"There is no such layout; known are {', '.join(WRITERS)}.")
    return WRITERS[layout](tiles_of(embeddings, mpp, name), out)


def import_features(path: Path, layout: str, out: Path, options: ImportOptions | None = None) -> Embeddings:
    """Read a file of features that another tool wrote into an embeddings store.

    Args:
        path: The file.
        layout: One of `READERS`.
        out: The folder in which `<fingerprint>.embeddings.zarr` appears, whole or not at all.
        options: What the caller knows that the file may not say.

    Returns:
        The embeddings. They say that they were imported; digests of weights are "unknown".

    Raises:
        InterchangeError: If there is no such layout.
    """
    if layout not in READERS:
        raise InterchangeError(f"There is no such layout to read; known are {', '.join(READERS)}.")
    options = options or ImportOptions()
    with guarded.opened(path) as file:
        found = READERS[layout](file, options.mpp0)
    with path.open("rb") as raw:
        sha256 = hashlib.file_digest(raw, "sha256").hexdigest()
    return store(found, layout, sha256, out, options)
