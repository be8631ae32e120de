"""A cohort whose slides are merged of several sources of bags, one a zoom: what the training loop reads.

`zooms.toml` names them, so that `oncoscope train` and `evaluate` take it where they take a file of bags:

    [[zoom]]
    bags = "cells.npz"       # beside this file, or a folder of stores
    mpp = 0.5                # only where the file does not say, um/px
    [[zoom]]
    bags = "tissue"
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mil.cohort.source import BagSource
from mil.errors import CohortError, ExperimentError
from mil.strict import build
from mil.zoom.plan import Zoom, ZoomPlan


@dataclass(frozen=True)
class ZoomEntry:
    """One zoom of `zooms.toml`."""

    bags: str
    """File of bags or folder of stores, below the folder of the TOML."""
    mpp: float = 0.0
    """Scale, um/px; 0 for what the bags say."""


class ZoomSource:
    """Several sources as one; a slide is there if any of them has it.

    Args:
        sources: One a zoom, the finest first, slides called by the same names.
        mpp: Scale of each where its file does not say, um/px; 0 where it does.

    Raises:
        CohortError: There is none, no slide is in two of them, or one does not say its zoom.
    """

    def __init__(self, sources: Sequence[BagSource], mpp: Sequence[float]) -> None:
        self.sources = tuple(sources)
        scales = [(source.mpp or (own,))[0] if own == 0 else own for source, own in zip(sources, mpp, strict=True)]
        if not scales or min(scales) <= 0 or any(len(source.mpp) > 1 for source in sources):
            raise CohortError("Each zoom to fuse needs bags of one zoom, and its scale in um/px.")
        self.plan = ZoomPlan(
            tuple(Zoom(scale, source.encoder, source.width) for scale, source in zip(scales, sources, strict=True))
        )
        self.ids = tuple(dict.fromkeys(name for source in sources for name in source.ids))
        if len(sources) > 1 and len(self.ids) == sum(len(source.ids) for source in sources):
            raise CohortError("No slide is called the same in two of the zooms to fuse.")
        rows = [{name: row for row, name in enumerate(source.ids)} for source in sources]
        self._rows = [[own.get(name) for own in rows] for name in self.ids]
        self._sizes = np.array([
            [0 if row is None else source.sizes[row] for source, row in zip(sources, found, strict=True)]
            for found in self._rows
        ])

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Number of tiles of each slide, all zooms together [slides]."""
        return np.asarray(self._sizes.sum(axis=1), np.int64)

    @property
    def width(self) -> int:
        """Width of a row of the plan."""
        return self.plan.width

    @property
    def encoder(self) -> str:
        """What made the features, all zooms as one word."""
        return self.plan.encoder

    @property
    def mpp(self) -> tuple[float, ...]:
        """The zooms, finest first, um/px."""
        return self.plan.mpp

    @property
    def fingerprint(self) -> str:
        """sha256 of the fingerprints and the plan, hex."""
        parts = [f"{source.fingerprint} {zoom}" for source, zoom in zip(self.sources, self.plan.zooms, strict=True)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def features(self, row: int, tiles: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """Read the tiles of a slide.

        Args:
            row: Which slide.
            tiles: Which of its tiles, ascending, counted over its zooms, finest first; all if None.

        Returns:
            Rows of the plan float32 [n, width].
        """
        parts = [np.zeros((0, self.width), np.float32)]
        ends = np.cumsum(self._sizes[row])
        for slot, (own, start, end) in enumerate(zip(self._rows[row], ends - self._sizes[row], ends, strict=True)):
            wanted = None if tiles is None else tiles[(tiles >= start) & (tiles < end)] - start
            if own is not None and (wanted is None or wanted.size):
                parts.append(self.plan.rows(slot, self.sources[slot].features(own, wanted)))
        return np.concatenate(parts)

    def coords(self, row: int) -> NDArray[np.int64]:
        """Where the tiles of a slide are.

        Args:
            row: Which slide.

        Returns:
            Top-left corners [N, 2], level-0 pixels, each of a tile of its own zoom.
        """
        pairs = zip(self.sources, self._rows[row], strict=True)
        return np.concatenate([source.coords(own) for source, own in pairs if own is not None])


def read_zooms(path: Path, opened: Callable[[Path], BagSource]) -> ZoomSource:
    """Read `zooms.toml`.

    Args:
        path: The file.
        opened: Opens the bags of one zoom.

    Returns:
        The merged source.

    Raises:
        CohortError: The file is not what it should be.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        items = table.pop("zoom", None)
        if table or not isinstance(items, list):
            raise CohortError("The file that names the zooms must hold tables [[zoom]] and nothing else.")
        entries = [build(ZoomEntry, item, f"[[zoom]] {row + 1}") for row, item in enumerate(items)]
    except (OSError, ValueError, AttributeError, ExperimentError) as error:
        raise CohortError("The file that names the zooms cannot be read.") from error
    return ZoomSource([opened(path.parent / entry.bags) for entry in entries], [entry.mpp for entry in entries])
