"""Bags in one `.npz` file: `features` float16 or float32 [instances, D], `offsets` [slides + 1], `slide_id` [slides].

Slide i has the rows offsets[i] to offsets[i + 1]. Optional: `coords` int [instances, 2], `encoder` (one text, or one a
slide), `mpp` (um/px, one number a zoom, finest first) and `label` [slides]. Other arrays are ignored.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mil.cohort.archive import Archive
from mil.cohort.rows import Rows, open_rows
from mil.cohort.slide_facts import read_encoder, read_ids, read_labels_of, read_mpp, read_offsets
from mil.errors import BagError, CohortError

MAX_WIDTH: Final = 65536
"""Numbers of a tile."""


class BagsFile:
    """A file of bags, opened; features are read a slide at a time.

    Args:
        path: The file.
        scratch: Folder for what a large packed file is unpacked into; the system's own if None.

    Raises:
        CohortError: It is not of this layout, or damaged.
    """

    def __init__(self, path: Path, scratch: Path | None = None) -> None:
        self._archive = archive = Archive(path)
        self._tables: dict[str, Any] = {"features": archive.member("features", "f", (2,))}
        count, self._width = self._tables["features"].shape
        if self._tables["features"].dtype.itemsize > 4 or not 1 <= self._width <= MAX_WIDTH:
            raise CohortError("The array features must be float16 or float32, with 1 to 65536 numbers a tile.")
        self._offsets = read_offsets(archive, count)
        slides = len(self._offsets) - 1
        self._ids, self._encoder = read_ids(archive, slides), read_encoder(archive, slides)
        self._mpp, self._labels = read_mpp(archive), read_labels_of(archive, slides)
        if "coords" in archive:
            self._tables["coords"] = archive.member("coords", "i", (2,))
            if self._tables["coords"].shape != (count, 2):
                raise CohortError(f"The array coords must have the shape ({count}, 2).")
        self._rows: dict[str, Rows] = {
            name: open_rows(archive, name, member, scratch, np.float32 if name == "features" else np.int64)
            for name, member in self._tables.items()
        }

    @property
    def ids(self) -> tuple[str, ...]:
        """One pseudonym a slide; its number from 0 where the file has no `slide_id`."""
        return self._ids

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Number of tiles of each slide [slides]."""
        return np.diff(self._offsets)

    @property
    def width(self) -> int:
        """Width D of the features."""
        return int(self._width)

    @property
    def encoder(self) -> str:
        """What made the features; "" where the file does not say."""
        return self._encoder

    @property
    def mpp(self) -> tuple[float, ...]:
        """The zooms, finest first, um/px; () where the file does not say."""
        return self._mpp

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Text of the label of each slide, "" where not known; None where the file has no `label`."""
        return self._labels

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of all arrays that are used, hex; the same whether the file is packed or not."""
        digest = hashlib.sha256()
        for name, member in self._tables.items():
            digest.update(f"{name} {member.dtype.str} {member.shape}".encode())
            for piece in self._archive.pieces(name, member):
                digest.update(piece)
        facts = (self._offsets.tolist(), self._ids, self._encoder, self._mpp, self._labels)
        digest.update(repr(facts).encode())
        return digest.hexdigest()

    def features(self, row: int, tiles: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """Read the tiles of a slide.

        Args:
            row: Which slide.
            tiles: Which of its tiles, ascending; all if None.

        Returns:
            float32 [n, D].

        Raises:
            BagError: A tile is not there, or not finite; names slide and tile.
        """
        low, high = int(self._offsets[row]), int(self._offsets[row + 1])
        if tiles is None:
            found = self._rows["features"].read(low, high).astype(np.float32, copy=False)
        elif tiles.size and not 0 <= tiles[0] <= tiles[-1] < high - low:
            raise BagError(f"Slide {row} (counted from 0) has {high - low} tiles; others were asked for.")
        else:
            found = self._rows["features"].take(low + tiles).astype(np.float32, copy=False)
        if not np.isfinite(found).all():
            first = int(np.logical_not(np.isfinite(found).all(axis=1)).argmax())
            tile = first if tiles is None else int(tiles[first])
            raise BagError(f"Tile {tile} of slide {row} (both counted from 0) has features that are not finite.")
        return found

    def coords(self, row: int) -> NDArray[np.int64]:
        """Where the tiles of a slide are.

        Args:
            row: Which slide.

        Returns:
            Top-left corners [N, 2], level-0 pixels; (i, 0) for tile i where the file does not say.
        """
        low, high = int(self._offsets[row]), int(self._offsets[row + 1])
        if "coords" in self._rows:
            return self._rows["coords"].read(low, high).astype(np.int64, copy=False)
        return np.stack([np.arange(high - low), np.zeros(high - low)], axis=1).astype(np.int64)
