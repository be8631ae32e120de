"""Bags of embeddings stores: a folder of what `oncoscope embed` made, each opened when it is read.

A slide is called by its pseudonym (`slide-` and 12 digits of its content's hash), which `oncoscope` prints. A store
whose folder was renamed, `NAME.embeddings.zarr`, is called NAME.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from foundation.embeddings import Embeddings
from foundation.errors import FoundationError
from mil.bag import Bag, bag_from_embeddings, encoder_identity
from mil.cohort.slide_facts import require_names, require_one_encoder
from mil.errors import BagError, CohortError, EmptyBagError, MilError
from slides import SlideInfo
from tiling.commit import read_manifest

SUFFIX: Final = ".embeddings.zarr"


@dataclass(frozen=True)
class _Store:
    path: Path
    id: str
    digest: str
    encoder: str
    zooms: tuple[float, ...]
    size: int


class StoreBags:
    """A folder of embeddings stores; only what they say of themselves is held.

    Args:
        folder: The folder.
        zooms: Which to join, um/px; () where the stores have one only.

    Raises:
        CohortError: There is no store, or one cannot be opened.
    """

    def __init__(self, folder: Path, zooms: Sequence[float] = ()) -> None:
        places = sorted(folder.glob(f"*{SUFFIX}"))
        if not places:
            raise CohortError("The folder of bags holds no embeddings store.")
        self._stores = [_look(place, row, zooms) for row, place in enumerate(places)]
        self._ids = tuple(store.id for store in self._stores)
        require_names(self._ids)
        require_one_encoder([f"{store.encoder} {store.zooms}" for store in self._stores])
        self._width = self._read(0).features.shape[1]

    @property
    def ids(self) -> tuple[str, ...]:
        """One pseudonym a slide."""
        return self._ids

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Number of tiles of each slide, of the finest zoom [slides]."""
        return np.array([store.size for store in self._stores], np.int64)

    @property
    def width(self) -> int:
        """Width D of the features, all zooms together."""
        return int(self._width)

    @property
    def encoder(self) -> str:
        """What made the features."""
        return self._stores[0].encoder

    @property
    def mpp(self) -> tuple[float, ...]:
        """The zooms, finest first, um/px."""
        return self._stores[0].zooms

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of the checksums of all stores, their names and zooms, hex."""
        parts = [f"{store.id} {store.digest} {store.zooms}" for store in self._stores]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def features(self, row: int, tiles: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """Read the tiles of a slide.

        Args:
            row: Which slide.
            tiles: Which of its tiles, ascending; all if None.

        Returns:
            float32 [n, D].

        Raises:
            BagError: The slide is of another width than the first.
        """
        found = self._read(row).features
        if found.shape[1] != self._width:
            raise BagError(
                f"Slide {row} (counted from 0) has {found.shape[1]} numbers a tile; slide 0 has {self._width}."
            )
        return found if tiles is None else found[tiles]

    def coords(self, row: int) -> NDArray[np.int64]:
        """Where the tiles of a slide are.

        Args:
            row: Which slide.

        Returns:
            Top-left corners [N, 2], level-0 pixels.
        """
        return self._read(row).coords

    def _read(self, row: int) -> Bag:
        """Open one slide.

        Raises:
            BagError: It cannot be used; names it.
        """
        store = self._stores[row]
        try:
            return bag_from_embeddings(Embeddings.open(store.path), store.zooms, id=store.id)
        except (MilError, FoundationError) as error:
            raise BagError(f"Slide {row} (counted from 0): {error}") from error


def _look(place: Path, row: int, zooms: Sequence[float]) -> _Store:
    """Read what a store says of itself.

    Raises:
        CohortError: It cannot be opened, or lacks a zoom.
        EmptyBagError: It has no tile.
    """
    try:
        store = Embeddings.open(place)
    except FoundationError as error:
        raise CohortError(f"Store {row} of the folder (counted from 0): {error}") from error
    wanted = tuple(sorted(zooms)) or store.zooms
    if (len(wanted) > 1 and not zooms) or not set(wanted) <= set(store.zooms):
        have = ", ".join(f"{zoom:g}" for zoom in store.zooms)
        raise CohortError(f"Store {row} of the folder (counted from 0) has the zooms {have} um/px; say which to take.")
    if not store.count(wanted[0]):
        raise EmptyBagError(f"Slide {row} (counted from 0) has no tile; leave it out of the folder.")
    named = place.name.removesuffix(SUFFIX)
    name = SlideInfo.from_json(store.slide).pseudonym if named == store.fingerprint else named
    digest = str(read_manifest(place)["self"])  # covers the checksum of every member
    return _Store(place, name, digest, encoder_identity(store), wanted, store.count(wanted[0]))
