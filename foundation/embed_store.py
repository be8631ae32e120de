"""What an embeddings store is called, what it says of itself, and how it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foundation import embeddings as layout
from foundation.embeddings import Embeddings
from foundation.encoder import Encoder, recipe_of
from foundation.features import require_spread
from tiling.commit import staged
from tiling.fingerprint import fingerprint
from tiling.grid import TileGrid
from tiling.staging import undisturbed
from tiling.store import TileStore

Rows = Mapping[float, NDArray[np.float16]]
"""Scale in um/px -> features [N, D]."""


@dataclass(frozen=True, slots=True)
class Making:
    """How the features of one slide are made: all of it is in the store's name."""

    encoder: Encoder
    zooms: tuple[float, ...]
    """Scales in um/px, the finest first."""
    breaches: tuple[str, ...] = ()
    """Of the encoder's contract, allowed by the caller."""
    numbers: Mapping[str, str] = field(default_factory=dict)
    """What arithmetic, where it is not float32 on the CPU: kind of device, precision."""

    def name(self, tiles: str) -> str:
        """The fingerprint.

        Args:
            tiles: Fingerprint of the tile store.

        Returns:
            64 hex digits.
        """
        arithmetic = {"numbers": dict(self.numbers)} if self.numbers else {}
        return fingerprint(
            kind=layout.KIND,
            format=layout.FORMAT,
            tiles=tiles,
            encoder=recipe_of(self.encoder),
            zooms=list(self.zooms),
            breaches=list(self.breaches),
            **arithmetic,
        )

    def place(self, tiles: str, out: Path) -> Path:
        """Where the store appears.

        Args:
            tiles: Fingerprint of the tile store.
            out: The folder.

        Returns:
            Its path.
        """
        return out / f"{self.name(tiles)}.embeddings.zarr"


def write_embeddings(
    making: Making, store: TileStore, out: Path, rows: Rows, about: Mapping[str, Any] | None = None
) -> Embeddings:
    """Write and commit the features of one slide.

    Args:
        making: How they were made.
        store: The tiles.
        out: The folder in which `<fingerprint>.embeddings.zarr` appears, whole or not at all.
        rows: The features.
        about: More to say in the provenance.

    Returns:
        The embeddings.
    """
    for features in rows.values():
        require_spread(features)
    final = making.place(store.fingerprint, out)
    name = making.name(store.fingerprint)
    with undisturbed(final), staged(final, kind=layout.KIND, fingerprint=name) as folder:
        layout.write_header(folder, _header(making, store, about or {}))
        for mpp in making.zooms:
            grid = store.grid(mpp)
            tiles: dict[str, NDArray[Any]] = {"coords": grid.coords, "tissue": grid.tissue, "parent": grid.parent}
            layout.write_zoom(folder, mpp, {"features": rows[mpp], **tiles})
    return Embeddings.open(final)


def _header(making: Making, store: TileStore, about: Mapping[str, Any]) -> dict[str, Any]:
    encoder = making.encoder
    digests = {"weights_digest": encoder.weights_digest, "preprocessing_digest": encoder.preprocessing_digest}
    return {
        "encoder": {**encoder.spec.to_json(), **digests},
        "slide": store.info.to_json(),
        "tiles_fingerprint": store.fingerprint,
        "zooms": _zoom_headers([store.grid(mpp) for mpp in making.zooms]),
        "provenance": {"tiles": store.provenance, "overridden": list(making.breaches), **about},
    }


def _zoom_headers(grids: Sequence[TileGrid]) -> list[dict[str, Any]]:
    return [
        {
            "mpp": grid.mpp,
            "px": grid.spec.px,
            "overlap": grid.spec.overlap,
            "tiles": len(grid),
            "extent": [float(side) for side in grid.extent],
        }
        for grid in grids
    ]
