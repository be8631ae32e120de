"""Embeddings of one slide: features of every tile at every zoom, in one checked Zarr v3 store. Reads without torch.

::

    <fingerprint>.embeddings.zarr/
        manifest.json              every member with size and SHA-256
        zarr.json                  attributes: slide, encoder, tiles, provenance
        zooms/<mpp>/features       float16 [N, D]
        zooms/<mpp>/coords         int64 [N, 2] level-0 x, y of the top left
        zooms/<mpp>/tissue         float32 [N] share of tissue
        zooms/<mpp>/parent         int64 [N] index in the next coarser zoom of the tiles, -1 for none
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ZstdCodec

from foundation.errors import ContractError, EmbeddingsError
from tiling.commit import read_manifest, require_whole
from tiling.errors import StoreError

KIND = "oncoscope-embeddings"
FORMAT = 1
ROWS = 2048
"""Tiles in a chunk: a few MB, read at one go."""
CHECKED = (ZstdCodec(level=1), Crc32cCodec())
"""A flipped bit is an error, not another feature."""
NOTICE = "Research use only. Not for diagnosis."


class Embeddings:
    """A committed embeddings store, opened for reading.

    Args:
        path: The store's folder.

    Raises:
        EmbeddingsError: If no whole embeddings store stands there.
    """

    def __init__(self, path: Path) -> None:
        try:
            manifest = read_manifest(path)
            require_whole(path)
        except StoreError as error:
            raise EmbeddingsError(f"No whole embeddings store stands at this place: {error}.") from error
        if manifest.get("kind") != KIND:
            raise EmbeddingsError("The store at this place does not hold embeddings.")
        self.path = path
        self.fingerprint: str = manifest["fingerprint"]
        self._group = zarr.open_group(path, mode="r")
        about = cast("dict[str, Any]", self._group.attrs["oncoscope"])
        self.encoder: dict[str, Any] = about["encoder"]
        """The encoder's spec, with `weights_digest` and `preprocessing_digest`."""
        self.slide: dict[str, Any] = about["slide"]
        """The slide's information as `SlideInfo.to_json` gives it."""
        self.tiles_fingerprint: str = about["tiles_fingerprint"]
        self.provenance: dict[str, Any] = about["provenance"]
        self._zooms: dict[float, dict[str, Any]] = {float(zoom["mpp"]): zoom for zoom in about["zooms"]}

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a committed store.

        Args:
            path: The store's folder.

        Returns:
            The embeddings.
        """
        return cls(path)

    @property
    def zooms(self) -> tuple[float, ...]:
        """Scales in micrometres per pixel, the finest first."""
        return tuple(self._zooms)

    def count(self, mpp: float) -> int:
        """How many tiles a zoom has.

        Args:
            mpp: One of `zooms`.

        Returns:
            N.
        """
        return int(self._zoom(mpp)["tiles"])

    def require_encoder(self, key: str, weights_digest: str, preprocessing_digest: str) -> None:
        """Refuse features that another encoder made, or the same one from other weights or preprocessing.

        Args:
            key: The encoder's name.
            weights_digest: SHA-256 of its weights.
            preprocessing_digest: SHA-256 of its preprocessing.

        Raises:
            ContractError: If they differ.
        """
        wanted = {"key": key, "weights_digest": weights_digest, "preprocessing_digest": preprocessing_digest}
        other = [name.replace("_", " ") for name, value in wanted.items() if self.encoder.get(name) != value]
        if other:
            made_by = self.encoder.get("key")
            raise ContractError(f"The embeddings were made by {made_by!r} and not by {key!r}: {other[-1]} differs.")

    def features(self, mpp: float) -> NDArray[np.float16]:
        """Features of every tile.

        Args:
            mpp: One of `zooms`.

        Returns:
            [N, D].
        """
        return self._array(mpp, "features")

    def coords(self, mpp: float) -> NDArray[np.int64]:
        """Top left of every tile.

        Args:
            mpp: One of `zooms`.

        Returns:
            x and y in level-0 pixels, [N, 2].
        """
        return self._array(mpp, "coords")

    def tissue(self, mpp: float) -> NDArray[np.float32]:
        """Share of tissue in every tile.

        Args:
            mpp: One of `zooms`.

        Returns:
            [N] in 0..1.
        """
        return self._array(mpp, "tissue")

    def parent(self, mpp: float) -> NDArray[np.int64]:
        """The tile of the next coarser zoom that holds each tile.

        Args:
            mpp: One of `zooms`.

        Returns:
            Indices [N], -1 for none.
        """
        return self._array(mpp, "parent")

    def extent(self, mpp: float) -> tuple[float, float]:
        """What a tile covers.

        Args:
            mpp: One of `zooms`.

        Returns:
            Width and height in level-0 pixels.
        """
        width, height = self._zoom(mpp)["extent"]
        return float(width), float(height)

    def tile_area_mm2(self, mpp: float) -> float:
        """Area that a tile stands for; where tiles overlap, less than it covers.

        Args:
            mpp: One of `zooms`.

        Returns:
            Square millimetres.
        """
        zoom = self._zoom(mpp)
        return float(((zoom["px"] - zoom["overlap"]) * zoom["mpp"] / 1000) ** 2)

    def _zoom(self, mpp: float) -> dict[str, Any]:
        if mpp not in self._zooms:
            have = ", ".join(f"{zoom:g}" for zoom in self._zooms)
            raise EmbeddingsError(f"The embeddings hold the zooms {have} um/px, not {mpp:g}.")
        return self._zooms[mpp]

    def _array(self, mpp: float, name: str) -> NDArray[Any]:
        # Its codecs check every chunk.
        place = f"zooms/{self._zoom(mpp)['mpp']:g}/{name}"
        try:
            return np.asarray(cast("zarr.Array[Any]", self._group[place])[...])
        except (KeyError, ValueError, RuntimeError, OSError) as error:
            raise EmbeddingsError(f"The embeddings are damaged: {name} at {mpp:g} um/px cannot be read.") from error


def write_header(folder: Path, about: dict[str, Any]) -> None:
    """Begin a store in a staging folder.

    Args:
        folder: The staging folder.
        about: `encoder`, `slide`, `tiles_fingerprint`, `zooms` and `provenance`, as JSON values.
    """
    group = zarr.create_group(folder)
    group.attrs["oncoscope"] = {"kind": KIND, "format": FORMAT, "notice": NOTICE, **about}
    group.create_group("zooms")


def write_zoom(folder: Path, mpp: float, arrays: dict[str, NDArray[Any]]) -> None:
    """Add one zoom to a store in a staging folder.

    Args:
        folder: The staging folder.
        mpp: Its scale.
        arrays: `features`, `coords`, `tissue` and `parent`.
    """
    zoom = zarr.open_group(folder, mode="r+").create_group(f"zooms/{mpp:g}")
    for name, array in arrays.items():
        chunks = (max(1, min(ROWS, len(array))), *array.shape[1:])
        zoom.create_array(name, data=array, chunks=chunks, compressors=CHECKED)
