"""A plain embedding loop as peers write it, so that the engine has something to be measured against; and its slides.

What TRIDENT does in spirit, with none of its code. Slide after slide: open, segment, a new torch DataLoader whose
workers read a tile at a time with OpenSlide and PIL and give float32, batch to the device, features to the CPU and into
a list, one HDF5 file at the end. It pays for reading, conversion, start of workers, and the file. It does not pay for a
content hash, quality measures, checksums or syncing, as ours does; and its tissue is found by our segmentation, which
is quicker than the published ones, so that both embed the same tiles.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks._trident_like import _Tiles
from foundation.engine.meter import Meter, idle
from foundation.spec import EncoderSpec
from slides import Address, open_slide
from slides.synthetic import write_slide
from tiling import TileSpec, segment
from tiling.plan import plan
from tiling.sampling import Sampling

MAKE_SLIDE = Path(__file__).resolve().parents[2] / "shared" / "tools" / "make_slide.py"
Encode = Callable[[Tensor, Meter], NDArray[np.float32]]
"""Takes normalised images [B, 3, px, px], float32, on the CPU, and notes when the device was busy."""


class _Images(Dataset[tuple[NDArray[np.int64], Tensor]]):
    """The tiles of a slide as a network takes them."""

    def __init__(self, tiles: _Tiles, spec: EncoderSpec) -> None:
        self._tiles = tiles
        self._mean, self._std = (torch.tensor(each).view(3, 1, 1) for each in (spec.mean, spec.std))

    def __len__(self) -> int:
        return len(self._tiles)

    def __getitem__(self, index: int) -> tuple[NDArray[np.int64], Tensor]:
        corner, tile = self._tiles[index]
        image = torch.from_numpy(tile).permute(2, 0, 1).float().div_(255)
        return corner, image.sub_(self._mean).div_(self._std)


@dataclass
class TridentLike:
    """The loop over slides."""

    spec: EncoderSpec
    encode: Encode
    batch: int
    workers: int
    meter: Meter = field(default_factory=Meter)

    def run(self, slides: Sequence[Path], out: Path) -> None:
        """Embed slides one after the other.

        Args:
            slides: Files that OpenSlide reads.
            out: Folder for one HDF5 file a slide.
        """
        for number, path in enumerate(slides):
            with open_slide(Address.of(path)) as slide:
                mask = segment(slide)
                (grid,) = plan(slide.info, [TileSpec(self.spec.mpp[0], px=self.spec.px)], mask, Sampling())
            tiles = _Tiles(path, grid.coords, grid.side[0], self.spec.px)
            features = []
            for _, images in DataLoader(_Images(tiles, self.spec), batch_size=self.batch, num_workers=self.workers):
                features.append(self.encode(images, self.meter))
            with h5py.File(out / f"{number}.h5", "w") as file:
                file.create_dataset("features", data=np.concatenate(features))
                file.create_dataset("coords", data=grid.coords)

    @property
    def idle_share(self) -> float:
        """Of the time from the end of the first batch to the end of the last."""
        return idle([self.meter])[0] or 0.0

    @property
    def tiles_per_s(self) -> float:
        """In that time."""
        meter = self.meter
        return meter.tiles * (1 - 1 / meter.batches) / (meter.last_end - meter.first_end)


def made_slides(folder: Path, count: int, cells: int) -> list[Path]:
    """Slides of real tissue where the tool for that is there, else drawn ones; no two alike.

    Args:
        folder: Where to.
        count: How many.
        cells: Side of each in cells of 150 px.

    Returns:
        The files.
    """
    paths = [folder / f"{number}.svs" for number in range(count)]
    for number, path in enumerate(paths):
        if MAKE_SLIDE.is_file():
            call = [sys.executable, str(MAKE_SLIDE), str(path), "--cells", f"{cells}x{cells}", "--seed", str(number)]
            subprocess.run(call, check=True, stdout=sys.stderr)
        else:
            write_slide(path, size=(150 * cells, 150 * cells), mpp=0.25, seed=number)
    return paths
