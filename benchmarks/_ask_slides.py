"""Made slides whose every cell is known, of patches and maps that the tissue head and its encoder never saw."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foundation import Answer, Encoder, Question, ask, embed
from foundation.tissue import TISSUES
from slides import Address
from tiling import TileSpec, tile
from tools.tissue_plans import PLANS

CELL = 150
"""Level-0 pixels of a cell of a made slide."""
MPP = 0.5
MAPS = 60
CELLS = "28x28"
"""4,200 x 4,200 pixels, about a millimetre on a side."""


@dataclass(frozen=True, eq=False)
class Asked:
    """What a made slide answered, and what is true."""

    answer: Answer
    truth: NDArray[np.float64]
    """Share of each tissue in each tile [N, 12], of the tile's area."""

    def score(self, tissue: str) -> float:
        """Mean of the K largest raw values of a tissue."""
        return self.answer.prompts[TISSUES.index(tissue)].raw_score

    def share(self, tissue: str) -> float:
        """Share of the tiles that a tissue wins."""
        return self.answer.prompts[TISSUES.index(tissue)].share

    def raw(self, tissue: str) -> NDArray[np.float32]:
        """Of every tile."""
        return self.answer.prompts[TISSUES.index(tissue)].raw


def held_out_maps() -> list[int]:
    """Maps of the test split of tools/tissue_mosaics.py: every fifth."""
    return [k for k in range(MAPS) if k % 5 == 4]


def held_out_patches(data: Path, folder: Path, key: str) -> Path:
    """Links to the patches that trained neither an encoder nor its head, a folder a tissue."""
    for name in TISSUES:
        (folder / name).mkdir(parents=True)
        paths = sorted((data / "patches" / name).glob("*.jpg"))
        for path, part in zip(paths, PLANS[key].splitter(paths), strict=True):
            if part == "test":
                (folder / name / path.name).symlink_to(path.resolve())
    return folder


@dataclass(frozen=True)
class Studio:
    """Where slides are made and asked."""

    maker: Sequence[str]
    """The call that makes a slide, without its path."""
    folder: Path
    encoder: Encoder

    def asked(self, name: str, options: Sequence[str]) -> Asked:
        """Make a slide, tile and embed it, ask it for the twelve tissues with the built-in vocabulary."""
        out = self.folder / name
        path = out.with_suffix(".svs")
        command = [sys.executable, *self.maker, str(path), "--cells", CELLS, *options]
        subprocess.run(command, check=True, capture_output=True)
        address = Address.of(path)
        store = tile(address, [TileSpec(mpp=MPP, px=self.encoder.spec.tile_px)], out, keep="no")
        answer = ask(embed(store, self.encoder, out, address=address), Question(TISSUES))
        known = np.load(out.with_suffix(".truth.npz"))
        path.unlink()
        return Asked(answer, truth_of(known["classes"], answer))


def truth_of(classes: NDArray[np.uint8], answer: Answer) -> NDArray[np.float64]:
    """Share of each tissue in each tile [N, 12]."""
    down = _overlaps(answer.coords[:, 1], answer.extent[1], classes.shape[0])
    across = _overlaps(answer.coords[:, 0], answer.extent[0], classes.shape[1])
    area = answer.extent[0] * answer.extent[1]
    shares = [((down @ (classes == k + 1)) * across).sum(axis=1) / area for k in range(len(TISSUES))]
    return np.stack(shares, axis=1)


def _overlaps(starts: NDArray[np.int64], side: float, cells: int) -> NDArray[np.float64]:
    """How many pixels of each tile lie in each row or column of cells [N, cells]."""
    first = np.arange(cells) * CELL
    low, high = np.maximum(starts[:, None], first), np.minimum(starts[:, None] + side, first + CELL)
    return np.asarray(np.clip(high - low, 0, None))
