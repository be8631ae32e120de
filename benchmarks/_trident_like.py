"""A plain tiling loop as peers write it, so that ours has something to be measured against.

What TRIDENT and CLAM do in spirit, with none of their code: one slide at a time, a torch DataLoader whose workers each
open the slide with OpenSlide, read a tile at a time from the best level, convert and resize it with PIL, and one HDF5
file with coordinates and tiles, a chunk a tile. It is given the coordinates, so it pays for no segmentation; it neither
measures the tiles nor checks or syncs what it writes.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import openslide
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from benchmarks._tile_rounds import MPP, SPECS, Bench, Spent, rates, ratio, spent
from tiling import LocalPool, TileGrid, TileStore

BATCH = 64
RUN_TILES = 250
"""Neighbouring tiles in a piece of the sample: what is decoded twice at its ends does not count."""


class _Tiles(Dataset[tuple[NDArray[np.int64], NDArray[np.uint8]]]):
    """The tiles of a slide, read one at a time; each worker process opens the slide for itself."""

    def __init__(self, slide: Path, coords: NDArray[np.int64], side: float, px: int) -> None:
        self._path, self._coords, self._px = slide, coords, px
        with openslide.OpenSlide(str(slide)) as opened:
            self._level = opened.get_best_level_for_downsample(side / px)
            self._side = round(side / opened.level_downsamples[self._level])
        self._slide: openslide.OpenSlide | None = None

    def __len__(self) -> int:
        return len(self._coords)

    def __getitem__(self, index: int) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        if self._slide is None:
            self._slide = openslide.OpenSlide(str(self._path))
        x, y = self._coords[index].tolist()
        image = self._slide.read_region((x, y), self._level, (self._side, self._side)).convert("RGB")
        return self._coords[index], np.array(image.resize((self._px, self._px), Image.Resampling.BICUBIC))


def tile_like_trident(slide: Path, coords: NDArray[np.int64], side: float, *, px: int, workers: int, out: Path) -> None:
    """Tile one slide into one HDF5 file.

    Args:
        slide: A file that OpenSlide reads.
        coords: Top left of each tile in level-0 pixels (x, y), [N, 2].
        side: Level-0 pixels that a tile covers.
        px: Pixels of a tile's side in the file.
        workers: Processes that read.
        out: The HDF5 file to write.
    """
    torch.set_num_threads(1)
    loader = DataLoader(_Tiles(slide, coords, side, px), batch_size=BATCH, num_workers=workers)
    with h5py.File(out, "w") as file:
        places = file.create_dataset("coords", coords.shape, np.int64)
        tiles = file.create_dataset("imgs", (len(coords), px, px, 3), np.uint8, chunks=(1, px, px, 3))
        places.attrs["patch_size_level0"] = side
        done = 0
        for corners, images in loader:
            places[done : done + len(corners)] = corners.numpy()
            tiles[done : done + len(images)] = images.numpy()
            done += len(images)


@contextmanager
def on_cores(count: int) -> Iterator[None]:
    """Hold this thread, and the threads and processes that it starts, to some cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def sampled(grid: TileGrid, most: int) -> NDArray[np.int64]:
    """Indices of tiles, evenly spread runs of neighbours; all of them where they are no more than `most`."""
    if len(grid) <= most:
        return np.arange(len(grid))
    run = min(RUN_TILES, most)
    starts = np.linspace(0, len(grid) - run, most // run).astype(np.int64)
    return np.unique(starts[:, None] + np.arange(run))


def against_trident(bench: Bench, store: TileStore, cores: int, most: int) -> dict[str, Any]:
    """Tiles a second of ours and of the plain loop, on the same cores."""
    grid, side = store.grid(MPP), store.grid(MPP).side[0]
    chosen = sampled(grid, most)

    def theirs(index: NDArray[np.int64], out: Path) -> None:
        tile_like_trident(bench.path, grid.coords[index], side, px=grid.spec.px, workers=cores, out=out)

    def peer() -> Spent:
        with tempfile.TemporaryDirectory(dir=bench.scratch) as folder:
            return spent(lambda: theirs(chosen, Path(folder) / "tiles.h5"))

    with on_cores(cores), LocalPool(cores) as pool:
        found = bench.interleaved({
            "raw": lambda: bench.ours(SPECS[:1], "raw", pool),
            "jpeg": lambda: bench.ours(SPECS[:1], "jpeg", pool),
            "trident_like": peer,
        })
        agreement = same_tiles(bench, store, theirs)
    scale = len(grid) / len(chosen)
    return {
        "ratio_trident_like": round(scale * ratio(found["trident_like"], found["raw"]).wall, 2),
        "trident_like": {
            "cores": cores,
            "loader_workers": cores,
            "batch": BATCH,
            "tiles_done": len(chosen),
            "scaled_from_sample": len(chosen) < len(grid),
            "ours_jpeg_over_it": round(scale * ratio(found["trident_like"], found["jpeg"]).wall, 2),
            "ours_raw_over_it_cpu": round(scale * ratio(found["trident_like"], found["raw"]).cpu, 2),
            "tiles_per_s": rates(found, {"raw": len(grid), "jpeg": len(grid), "trident_like": len(chosen)}),
            "psnr_db_to_ours": agreement,
        },
    }


def same_tiles(bench: Bench, store: TileStore, theirs: Callable[[NDArray[np.int64], Path], None]) -> float:
    """Peak signal-to-noise ratio in dB between tiles of ours and theirs: whether both do the same work.

    The median over tiles, because beyond the slide's edge OpenSlide's pixels are black and ours are white.
    """
    index, ours = next(store.batches(MPP, 64, bench.address))
    with tempfile.TemporaryDirectory(dir=bench.scratch) as folder:
        theirs(index, Path(folder) / "tiles.h5")
        with h5py.File(Path(folder) / "tiles.h5") as file:
            error = float(np.median(((file["imgs"][:].astype(np.float32) - ours) ** 2).mean(axis=(1, 2, 3))))
    return round(float(10 * np.log10(255**2 / max(error, 1e-9))), 1)
