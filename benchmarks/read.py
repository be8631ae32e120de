"""How quickly tiles are read: ours against the ways of others, interleaved in one process, on one slide.

    python benchmarks/read.py --slide SLIDE [--mpp0 0.25] [--tiles 400] [--rounds 3]

All methods deliver the same 224-px tiles at twice the slide's pixel size (half its resolution), as uint8 RGB. Figures
are tiles a second of CPU time on one core, medians of interleaved rounds; one JSON object is printed last.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openslide
from numpy.typing import NDArray
from PIL import Image

from slides import Address, Region, Size, Slide, open_slide
from slides.formats.openslide import OpenSlideReader
from slides.jail.spec import Jail
from slides.synthetic import write_slide
from slides.tiles import TiledSlide
from tiling import LocalPool

PX = 224
ROWS, COLS = 8, 16
"""Tiles that one read of ours covers, as in tiling."""
Tiles = list[NDArray[np.uint8]]
Method = Callable[[list[Region]], Tiles]


def windows(info_size: Size, side: int, most: int) -> list[Region]:
    """Row-major windows of the middle of the slide, whole rows from where a block of tiling begins."""
    cols = info_size.width // side
    rows = max(1, min(info_size.height // side, -(-most // cols)))
    first = (info_size.height // side - rows) // 2 // ROWS * ROWS
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
    """A reader of ours the way tiling uses it: a block of tiles at once."""

    def read(regions: list[Region]) -> Tiles:
        side = regions[0].width
        blocks: dict[tuple[int, int], list[Region]] = {}
        for r in regions:
            blocks.setdefault((r.y // (ROWS * side), r.x // (COLS * side)), []).append(r)
        return [tile for block in blocks.values() for tile in slide.read_tiles(block, Size(PX, PX))]

    return read


def fastslide_supertiles(path: Path) -> Method | None:
    """fastslide, 8 x 8 tiles at once, where it is installed."""
    if importlib.util.find_spec("fastslide") is None:
        return None
    fastslide: Any = importlib.import_module("fastslide")
    slide = fastslide.FastSlide.from_file_path(str(path))
    size = slide.dimensions
    return _supertiles(lambda x, y, w, h: slide.read_region(location=(x, y), level=0, size=(w, h)).numpy(), size)


def cucim_supertiles(path: Path) -> Method | None:
    """CuCIM on the CPU, 8 x 8 tiles at once, where it is installed."""
    if importlib.util.find_spec("cucim") is None:
        return None
    image: Any = importlib.import_module("cucim").CuImage(str(path))
    size = (image.size("X")[0], image.size("Y")[0])
    return _supertiles(lambda x, y, w, h: np.asarray(image.read_region((x, y), (w, h), 0)), size)


def _supertiles(read: Callable[[int, int, int, int], NDArray[np.uint8]], size: tuple[int, int]) -> Method:
    def method(regions: list[Region]) -> Tiles:
        side = regions[0].width
        tiles: Tiles = []
        for x, y in sorted({(r.x // (8 * side), r.y // (8 * side)) for r in regions}):
            left, top = x * 8 * side, y * 8 * side
            big = read(left, top, min(8 * side, size[0] - left), min(8 * side, size[1] - top))[..., :3]
            for r in regions:
                if (r.x // (8 * side), r.y // (8 * side)) == (x, y):
                    part = big[r.y - top :, r.x - left :][:side, :side]
                    small = cv2.resize(np.ascontiguousarray(part), (PX, PX), interpolation=cv2.INTER_AREA)
                    tiles.append(np.asarray(small, np.uint8))
        return tiles

    return method


def entropy_limit(slide: TiledSlide, regions: list[Region]) -> float:
    """CPU seconds to decode every compressed tile under the regions once at 1/8: little but entropy decoding."""
    layer = slide._layers[0]  # noqa: SLF001 - the limit is about this reader's own tiles
    first, last = regions[0], regions[-1]
    rows = range(first.y // layer.tile.height, -(-last.bottom // layer.tile.height))
    cols = range(first.x // layer.tile.width, min(layer.shape[1], -(-last.right // layer.tile.width)))
    start = time.process_time()
    for _ in layer.tiles([(row, col) for row in rows for col in cols], max(layer.shrinks)):
        pass
    return time.process_time() - start


def peak_rss_mb(arguments: argparse.Namespace) -> float:
    """Memory of a process that does nothing but read these tiles our way."""
    call = [sys.executable, __file__, "--slide", str(arguments.slide), "--tiles", str(arguments.tiles), "--memory"]
    mpp0 = [] if arguments.mpp0 is None else ["--mpp0", str(arguments.mpp0)]
    return float(subprocess.run([*call, *mpp0], check=True, capture_output=True, text=True).stdout)


def jail_ratio(address: Address, regions: list[Region]) -> float:
    """Tiles a second of wall time in the jail over in this process, medians of interleaved rounds."""
    with open_slide(address) as here, open_slide(replace(address, jail=Jail())) as jailed:
        free, inside = in_strips(here), in_strips(jailed)
        seconds(inside, regions)
        pairs = [(seconds(free, regions)[1], seconds(inside, regions)[1]) for _ in range(5)]
    return statistics.median(pair[0] for pair in pairs) / statistics.median(pair[1] for pair in pairs)


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
    """Peak signal-to-noise ratio in dB over all tiles; infinite where they are equal."""
    error = float(np.mean([((x.astype(np.float32) - y) ** 2).mean() for x, y in zip(a, b, strict=True)]))
    return 10 * math.log10(255**2 / error) if error else math.inf


def psnr_db(a: Tiles, b: Tiles) -> float | str:
    """The same for JSON, which has no infinity."""
    value = psnr(a, b)
    return "equal" if math.isinf(value) else round(value, 1)


def at_odd_offset(region: Region) -> Region:
    """A region moved off the pixels of every source that is shrunk while it is decoded."""
    return Region(region.x + 1, region.y + 1, region.width, region.height)


def embeddings_agree(a: Tiles, b: Tiles) -> dict[str, float]:
    """Cosine between the built-in encoder's embeddings of the two, tile by tile."""
    from foundation import load_encoder

    encoder = load_encoder("builtin")
    vectors = [np.concatenate([encoder.encode(np.stack(t[i : i + 32])) for i in range(0, len(t), 32)]) for t in (a, b)]
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in vectors]
    cosine = (unit[0] * unit[1]).sum(axis=1)
    return {"median": float(np.median(cosine)), "p01": float(np.quantile(cosine, 0.01))}


def parse() -> argparse.Namespace:
    """The command line."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--slide", type=Path, help="a drawn slide where none is given")
    cli.add_argument("--mpp0", type=float)
    cli.add_argument("--tiles", type=int, default=400)
    cli.add_argument("--rounds", type=int, default=3)
    cli.add_argument("--memory", action="store_true", help="only read our way and print the peak memory in MB")
    return cli.parse_args()


def memory(address: Address, tiles: int) -> float:
    """Peak memory of this process in MB after reading our way."""
    with open_slide(address) as slide:
        regions = windows(slide.info.size, 2 * PX, tiles)
        for i in range(0, len(regions), ROWS * COLS):
            in_strips(slide)(regions[i : i + ROWS * COLS])  # as a feed does: what was handed on is forgotten
    # Not ru_maxrss: it is inherited from the parent across exec.
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024


def rates(present: dict[str, Method], regions: list[Region], rounds: int) -> dict[str, float]:
    """Tiles a second of CPU time by method, medians of interleaved rounds."""
    times: dict[str, list[float]] = {name: [] for name in present}
    for _ in range(rounds):
        for name, method in present.items():
            times[name].append(seconds(method, regions)[0])
    return {name: len(regions) / statistics.median(values) for name, values in times.items()}


def main() -> None:
    """Measure and print."""
    arguments = parse()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        if arguments.slide is None:
            arguments.slide = write_slide(Path(folder) / "drawn.svs", size=(10_000, 9_000), mpp=0.25)
        measure(arguments)


def measure(arguments: argparse.Namespace) -> None:
    """Measure on one slide and print."""
    address = Address.of(arguments.slide, arguments.mpp0)
    if arguments.memory:
        print(memory(address, arguments.tiles))
        return
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
    rate = rates({name: method for name, method in methods.items() if method is not None}, regions, arguments.rounds)
    peers = {name: value for name, value in rate.items() if name in {"cucim", "fastslide", "openslide_cv2"}}
    best = max(peers, key=lambda name: peers[name])
    fast, full = in_strips(ours)(regions), in_strips(exact)(regions)
    odd = [at_odd_offset(region) for region in regions[: ROWS * COLS]]
    odd_pairs = [[np.asarray(slide.read_to(region, Size(PX, PX))) for region in odd] for slide in (ours, exact)]
    document = {
        "slide": {"reader": ours.info.reader, "size": [ours.info.size.width, ours.info.size.height]},
        "tiles": len(regions),
        "decode": ours.source_for(2).decode,
        "tiles_per_s": {name: round(value, 1) for name, value in rate.items()},
        "ratio_openslide_pil": round(rate["ours"] / rate["openslide_pil"], 2),
        "best_peer": best,
        "ratio_best_peer": round(rate["ours"] / peers[best], 2),
        "ratio_entropy_limit": _entropy_ratio(ours, regions, rate["ours"]),
        "two_threads_over_one": round(two_threads(ours, regions), 2),
        "psnr_db": psnr_db(fast, full),
        "psnr_db_odd_offset": psnr_db(*odd_pairs),
        "jail_ratio": round(jail_ratio(address, regions), 3),
        "peak_rss_mb": round(peak_rss_mb(arguments)),
        "embedding_cosine": embeddings_agree(fast[:200], full[:200]),
    }
    print(json.dumps(document))


def _entropy_ratio(slide: Slide, regions: list[Region], rate: float) -> float | None:
    if not isinstance(slide, TiledSlide):
        return None
    return round(rate / (len(regions) / entropy_limit(slide, regions)), 2)


if __name__ == "__main__":
    main()
