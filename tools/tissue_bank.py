"""Patches and tissue maps of one split, at the scale and by the split of one encoder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from foundation.tissue import TISSUES
from tools._default_split import Part as Split
from tools._default_split import part_of

Image = NDArray[np.uint8]
PATCH_UM = 37.5
"""Side of a patch: 150 px at about 0.25 um/px."""


@dataclass(frozen=True)
class Field:
    """What an encoder is fed: square tiles at a fine scale and at a coarser one."""

    px: int
    mpp: tuple[float, float]
    """um/px, the fine one first."""

    @property
    def cell(self) -> int:
        """Side of a patch in pixels of the fine scale."""
        return round(PATCH_UM / self.mpp[0])

    def side(self, mpp: float) -> int:
        """Side of a tile in pixels of the fine scale."""
        return round(self.px * mpp / self.mpp[0])


@dataclass(frozen=True)
class Bank:
    """The patches and maps of one split."""

    field: Field
    patches: tuple[Image, ...]
    """[n, cell, cell, 3] for each class."""
    maps: tuple[NDArray[np.int16], ...]
    """[rows, cols], -1 where there is no tissue."""


Splitter = Callable[[Sequence[Path]], list[Split]]
"""Paths of one class in the order of their names -> the split of each."""


def by_name(paths: Sequence[Path]) -> list[Split]:
    """60/20/20 by hash of the file name."""
    return [split_of(path.name) for path in paths]


def by_block(paths: Sequence[Path]) -> list[Split]:
    """As the default encoder's patches are split: what it never saw judges its head too."""
    return [part_of(place / len(paths)) for place in range(len(paths))]


def load_bank(data: Path, split: Split, field: Field, splitter: Splitter) -> Bank:
    """Read the patches and maps of one split; maps are split by their position."""
    patches = []
    for name in TISSUES:
        paths = sorted((data / "patches" / name).glob("*.jpg"))
        kept = [path for path, part in zip(paths, splitter(paths), strict=True) if part == split]
        patches.append(np.stack([_patch(path, field.cell) for path in kept]))
    archive = np.load(data / "tissue_maps.npz")
    names = sorted(archive.files)
    turn: tuple[Split, ...] = ("train", "train", "train", "validation", "test")
    maps = [archive[name].astype(np.int16) - 1 for i, name in enumerate(names) if turn[i % 5] == split]
    return Bank(field, tuple(patches), tuple(maps))


def split_of(name: str) -> Split:
    """The split of a patch, from its file name alone. No slide is known, so neighbours may be parted by it."""
    place = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % 100
    return "train" if place < 60 else "validation" if place < 80 else "test"


def _patch(path: Path, cell: int) -> Image:
    image = cv2.cvtColor(np.asarray(cv2.imread(str(path)), np.uint8), cv2.COLOR_BGR2RGB)
    return np.asarray(cv2.resize(image, (cell, cell), interpolation=cv2.INTER_AREA), np.uint8)
