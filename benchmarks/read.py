"""How quickly tiles are read: ours against the ways of others, interleaved in one process, on one slide.

    python benchmarks/read.py --slide SLIDE [--mpp0 0.25] [--tiles 400] [--rounds 3]

All methods deliver the same 224-px tiles at twice the slide's pixel size (half its resolution), as uint8 RGB. Figures
are tiles a second of CPU time on one core, medians of interleaved rounds; one JSON object is printed last.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openslide
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from slides import Address, Region, Size, Slide, open_slide
from slides.formats.openslide import OpenSlideReader
from slides.formats.tiff_jpeg import TiffJpegReader
from tiling import LocalPool

PX = 224
STRIP = 64
"""Tiles in a row that one read of ours covers, as in tiling."""
Tiles = list[NDArray[np.uint8]]
Method = Callable[[list[Region]], Tiles]


def windows(info_size: Size, side: int, most: int) -> list[Region]:
    """Row-major windows of the middle of the slide, whole rows, so that every method sees tissue and edges alike."""
    cols = info_size.width // side
    rows = max(1, min(info_size.height // side, -(-most // cols)))
    first = (info_size.height // side - rows) // 2
    return [Region(c * side, (first + r) * side, side, side) for r in range(rows) for c in range(cols)]


def openslide_pil(path: Path) -> Method:
    """What TRIDENT and CLAM do: read_region, convert, resize with PIL."""
    slide = openslide.OpenSlide(str(path))

    def read(region: Region) -> NDArray[np.uint8]:
        image = slide.read_region((region.x, region.y), 0, (region.width, region.height)).convert("RGB")
        return np.asarray(image.resize((PX, PX), Image.Resampling.BICUBIC))

    return lambda regions: [read(region) for region in regions]


def one_by_one(slide: Slide) -> Method:
    """A reader of ours, a tile at a time."""
    return lambda regions: [slide.read_to(r, Size(PX, PX)) for r in regions]


def in_strips(slide: Slide) -> Method:
    """A reader of ours the way tiling uses it: some rows of up to 64 tiles at once."""

    def read(regions: list[Region]) -> Tiles:
        rows = sorted({r.y for r in regions})
        tiles: Tiles = []
        for i in range(0, len(rows), 4):
            band = [r for r in regions if r.y in rows[i : i + 4]]
            for x in sorted({r.x // (STRIP * r.width) for r in band}):
                tiles.extend(slide.read_tiles([r for r in band if r.x // (STRIP * r.width) == x], Size(PX, PX)))
        return tiles

    return read


def fastslide_supertiles(path: Path) -> Method | None:
    """fastslide, 8 x 8 tiles at once, where it is installed."""
    if importlib.util.find_spec("fastslide") is None:
        return None
    fastslide: Any = importlib.import_module("fastslide")
    slide = fastslide.FastSlide.from_file_path(str(path))
    return _supertiles(lambda x, y, n: np.asarray(slide.read_region(location=(x, y), level=0, size=(n, n))))


def cucim_supertiles(path: Path) -> Method | None:
    """CuCIM on the CPU, 8 x 8 tiles at once, where it is installed."""
    if importlib.util.find_spec("cucim") is None:
        return None
    image: Any = importlib.import_module("cucim").CuImage(str(path))
    return _supertiles(lambda x, y, side: np.asarray(image.read_region((x, y), (side, side), 0)))


def _supertiles(read: Callable[[int, int, int], NDArray[np.uint8]]) -> Method:
    def method(regions: list[Region]) -> Tiles:
        side, tiles = regions[0].width, []
        for x, y in sorted({(r.x // (8 * side), r.y // (8 * side)) for r in regions}):
            big = read(x * 8 * side, y * 8 * side, 8 * side)[..., :3]
            for r in regions:
                if (r.x // (8 * side), r.y // (8 * side)) == (x, y):
                    part = big[r.y - y * 8 * side :, r.x - x * 8 * side :][:side, :side]
                    tiles.append(
                        np.asarray(cv2.resize(np.ascontiguousarray(part), (PX, PX), interpolation=cv2.INTER_AREA))
                    )
        return tiles

    return method


def entropy_limit(slide: TiffJpegReader, regions: list[Region]) -> float:
    """Seconds to decode every compressed tile under the regions once at 1/8: nearly nothing but entropy decoding."""
    index = slide._indices[0]  # noqa: SLF001 - the limit is about this reader's own tiles
    whole = Region(regions[0].x, regions[0].y, regions[-1].right - regions[0].x, regions[-1].bottom - regions[0].y)
    rows = range(whole.y // index.tile.height, -(-whole.bottom // index.tile.height))
    cols = range(whole.x // index.tile.width, min(index.offsets.shape[1], -(-whole.right // index.tile.width)))
    start = time.process_time()
    for row in rows:
        for col in cols:
            slide._decode(index, row, col, 8)  # noqa: SLF001
    return time.process_time() - start


def seconds(method: Method, regions: list[Region]) -> tuple[float, float]:
    """CPU and wall seconds of one pass."""
    cpu, wall = time.process_time(), time.perf_counter()
    method(regions)
    return time.process_time() - cpu, time.perf_counter() - wall


def two_threads(slide: Slide, regions: list[Region]) -> float:
    """Wall seconds of one thread over two."""
    half = [regions[: len(regions) // 2], regions[len(regions) // 2 :]]
    read = in_strips(slide)
    with LocalPool(2) as pool:
        walls = []
        for _ in range(3):
            start = time.perf_counter()
            list(pool.map(read, half))
            walls.append(time.perf_counter() - start)
    return statistics.median(seconds(read, regions)[1] for _ in range(3)) / statistics.median(walls)


def psnr(a: Tiles, b: Tiles) -> float:
    """Peak signal-to-noise ratio in dB over all tiles."""
    error = np.mean([((x.astype(np.float32) - y) ** 2).mean() for x, y in zip(a, b, strict=True)])
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def embeddings_agree(a: Tiles, b: Tiles) -> dict[str, float]:
    """Cosine between the built-in encoder's embeddings of the two, tile by tile."""
    from foundation import load_encoder

    encoder = load_encoder("builtin")
    vectors = [np.concatenate([encoder.encode(np.stack(t[i : i + 32])) for i in range(0, len(t), 32)]) for t in (a, b)]
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in vectors]
    cosine = (unit[0] * unit[1]).sum(axis=1)
    return {"median": float(np.median(cosine)), "p01": float(np.quantile(cosine, 0.01))}


def main() -> None:
    """Measure and print."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--slide", type=Path, required=True)
    cli.add_argument("--mpp0", type=float)
    cli.add_argument("--tiles", type=int, default=400)
    cli.add_argument("--rounds", type=int, default=3)
    arguments = cli.parse_args()
    cv2.setNumThreads(1)
    address = Address.of(arguments.slide, arguments.mpp0)
    ours, exact = open_slide(address), open_slide(replace(address, decode="exact"))
    regions = windows(ours.info.size, 2 * PX, arguments.tiles)
    methods: dict[str, Method | None] = {
        "ours": in_strips(ours),
        "ours_exact": in_strips(exact),
        "openslide_pil": openslide_pil(arguments.slide),
        "openslide_cv2": one_by_one(OpenSlideReader(address, "")),
        "cucim": cucim_supertiles(arguments.slide),
        "fastslide": fastslide_supertiles(arguments.slide),
    }
    present = {name: method for name, method in methods.items() if method is not None}
    times: dict[str, list[float]] = {name: [] for name in present}
    for _ in range(arguments.rounds):
        for name, method in present.items():
            times[name].append(seconds(method, regions)[0])
    rate = {name: len(regions) / statistics.median(values) for name, values in times.items()}
    peers = {name: value for name, value in rate.items() if name in {"cucim", "fastslide", "openslide_cv2"}}
    best = max(peers, key=lambda name: peers[name])
    fast, full = in_strips(ours)(regions), in_strips(exact)(regions)
    print(
        json.dumps({
            "slide": {
                "format": ours.info.format,
                "reader": ours.info.reader,
                "size": [ours.info.size.width, ours.info.size.height],
            },
            "tiles": len(regions),
            "decode": ours.source_for(2).decode,
            "tiles_per_s": {name: round(value, 1) for name, value in rate.items()},
            "ratio_openslide_pil": round(rate["ours"] / rate["openslide_pil"], 2),
            "best_peer": best,
            "ratio_best_peer": round(rate["ours"] / peers[best], 2),
            "ratio_entropy_limit": _entropy_ratio(ours, regions, rate["ours"]),
            "two_threads_over_one": round(two_threads(ours, regions), 2),
            "psnr_db": round(psnr(fast, full), 1),
            "embedding_cosine": embeddings_agree(fast[:200], full[:200]),
            "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            "simplejpeg": simplejpeg.__version__,
        })
    )


def _entropy_ratio(slide: Slide, regions: list[Region], rate: float) -> float | None:
    if not isinstance(slide, TiffJpegReader):
        return None
    return round(rate / (len(regions) / entropy_limit(slide, regions)), 2)


if __name__ == "__main__":
    main()
