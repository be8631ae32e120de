"""What a search over a cohort costs: exactly, against merely reading the float16 rows; and approximately.

    python benchmarks/search.py [--quick] [--rows 1000000] [--queries 20] [--rounds 5] [--folder DIR]

The cohort is made (`_search_made.py`): 1,000,000 rows x 512 in slides of 10,000, a mixture that lies like embeddings
do; `noise` has the same figures for rows without any structure, a quarter as many. All files are in the page cache.

seconds             median wall time of the exact top 50 for one query, by `foundation.index.nearest`, two threads
read_seconds        median wall time of reading the float16 rows alone: the same files, two threads, whole chunks into
                    a buffer that each thread keeps, nothing computed, nothing checked
ratio_bandwidth     seconds / read_seconds
ratio_plain         the same for a plain chunked product: float16 rows read as above, to float32, times the query
search_seconds      the whole verb `search`: 50 tiles that do not overlap
rescored            median number of rows whose true score was read
exact               whether, for three queries, rows and scores are those of the truth computed for every row
peak_rss_mb         VmHWM of a fresh process that opens the index and searches it
build_seconds       of the approximate index (faiss)
recall_by_query     the same for each kind of query
recall, speedup     share of the exact top 50 that the approximate search finds, mean over queries; exact / approximate

One JSON object is printed last.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks._search_made import QUERIES, queries, write_made
from foundation.index import Approximation, Query, SearchIndex, approximate, nearest, search
from foundation.index.measure import THREADS
from foundation.index.quantise import scores
from foundation.index.segment import Segment
from tiling.pool import LocalPool

K = 50
TARGETS: dict[str, tuple[str, float]] = {
    "ratio_bandwidth": ("<=", 10),
    "peak_rss_mb": ("<=", 1000),
    "recall": (">=", 0.98),
    "speedup": (">=", 10),
}


def timed(work: Callable[[], Any]) -> float:
    """Seconds of wall time."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def over_rows(index: SearchIndex, work: Callable[[Segment, int, bytearray], Any]) -> list[Any]:
    """Do something with the float16 rows of every block, two threads, in order."""
    blocks = [(segment, block) for segment in index.segments for block in range(segment.blocks)]
    size = max(segment.block_rows for segment in index.segments) * 2 * index.catalogue.dim
    buffers = [bytearray(size) for _ in range(THREADS)]

    def one(part: int) -> list[Any]:
        return [work(segment, block, buffers[part]) for segment, block in blocks[part::THREADS]]

    with LocalPool(THREADS) as pool:
        parts = list(pool.map(one, range(THREADS)))
    return [parts[n % THREADS][n // THREADS] for n in range(len(blocks))]


def read(segment: Segment, block: int, buffer: bytearray) -> int:
    """Read the rows of a block."""
    handle = os.open(segment.path / "rows" / "c" / str(block) / "0", os.O_RDONLY)
    try:
        return os.preadv(handle, [memoryview(buffer)[: segment.block_rows * 2 * segment.dim]], 0)
    finally:
        os.close(handle)


def plain(index: SearchIndex, vector: NDArray[np.float32]) -> NDArray[np.int64]:
    """The top by a chunked float32 product."""

    def one(segment: Segment, block: int, buffer: bytearray) -> NDArray[np.float32]:
        read(segment, block, buffer)
        rows = np.frombuffer(buffer, np.float16, segment.block_rows * segment.dim).reshape(-1, segment.dim)
        count = min(segment.block_rows, segment.tiles - block * segment.block_rows)
        return np.asarray(rows[:count].astype(np.float32) @ vector, np.float32)

    found = np.concatenate(over_rows(index, one))
    return np.argsort(-found, kind="stable")[:K]


def is_exact(index: SearchIndex, vector: NDArray[np.float32]) -> bool:
    """Whether the answer is the truth of every row."""
    blocks = ((segment, block) for segment in index.segments for block in range(segment.blocks))
    truth = np.concatenate([scores(segment.block("rows", block), vector) for segment, block in blocks])
    order = np.lexsort((np.arange(len(truth)), -truth))[:K]
    (best,) = nearest(index, vector[None], K)
    rows, found = best.result()
    return bool(np.array_equal(rows, order) and np.array_equal(found, truth[order]))


def exactly(index: SearchIndex, asked: NDArray[np.float32], rounds: int) -> dict[str, Any]:
    """The exact search against reading."""
    over_rows(index, read)
    nearest(index, asked[:1], K)
    reads = [timed(lambda: over_rows(index, read)) for _ in range(rounds)]
    exact, whole, rescored = [], [], []
    for vector in asked:
        start = time.perf_counter()
        (best,) = nearest(index, vector[None], K)
        exact.append(time.perf_counter() - start)
        rescored.append(best.rescored)
        query = Query("vector", "vector", vector)
        whole.append(timed(lambda query=query: search(index, query, K)))  # type: ignore[misc]
    reads += [timed(lambda: over_rows(index, read)) for _ in range(rounds)]
    plains = [timed(lambda: plain(index, asked[0])) for _ in range(min(3, rounds))]
    seconds, read_seconds = statistics.median(exact), statistics.median(reads)
    return {
        "seconds": round(seconds, 4),
        "read_seconds": round(read_seconds, 4),
        "ratio_bandwidth": round(seconds / read_seconds, 2),
        "ratio_plain": round(statistics.median(plains) / read_seconds, 2),
        "search_seconds": round(statistics.median(whole), 4),
        "rescored": statistics.median(rescored),
        "exact": all(is_exact(index, vector) for vector in asked[:3]),
    }


def approximately(index: SearchIndex, asked: NDArray[np.float32]) -> dict[str, Any]:
    """The approximate search against the exact one, in turns."""
    build = timed(lambda: approximate(index.path))
    index = SearchIndex.open(index.path)
    approximation = Approximation(index)
    chosen = range(len(index.entries))
    approximation.nearest(index, asked[0], K, chosen)
    recalls, ratios, times = [], [], []
    for vector in asked:
        start = time.perf_counter()
        (best,) = nearest(index, vector[None], K)
        middle = time.perf_counter()
        rows, _, _ = approximation.nearest(index, vector, K, chosen)
        end = time.perf_counter()
        recalls.append(len(np.intersect1d(rows, best.result()[0])) / K)
        ratios.append((middle - start) / (end - middle))
        times.append(end - middle)
    return {
        "recall": round(statistics.mean(recalls), 4),
        "recall_by_query": {kind: round(statistics.mean(recalls[n::3]), 4) for n, kind in enumerate(QUERIES)},
        "speedup": round(statistics.median(ratios), 1),
        "approximate_seconds": round(statistics.median(times), 5),
        "build_seconds": round(build, 1),
    }


def peak_mb(path: Path) -> int:
    """Peak memory of a process that does nothing but search."""
    call = [sys.executable, __file__, "--memory", "--folder", str(path)]
    return round(float(subprocess.run(call, check=True, stdout=subprocess.PIPE, text=True).stdout))


def search_alone(path: Path) -> None:
    """Search and print the peak memory in MB."""
    index = SearchIndex.open(path)
    for vector in queries(index, 4):
        search(index, Query("vector", "vector", vector), K, slides=True)
    line = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
    print(int(line) / 1024)


def measure(path: Path, rows: int, arguments: argparse.Namespace, *, noise: bool) -> dict[str, Any]:
    """All figures of one cohort."""
    index = SearchIndex.open(path) if (path / "index.json").is_file() else write_made(path, rows, noise=noise)
    asked = queries(index, arguments.queries)
    document = {"rows": len(index), **exactly(index, asked, arguments.rounds), "peak_rss_mb": peak_mb(path)}
    return {**document, **approximately(index, asked)}


def parse() -> argparse.Namespace:
    """The command line."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--quick", action="store_true", help="20,000 rows: whether it runs, not how fast")
    cli.add_argument("--rows", type=int, default=1_000_000)
    cli.add_argument("--queries", type=int, default=20)
    cli.add_argument("--rounds", type=int, default=5)
    cli.add_argument("--folder", type=Path, help="where the made indexes are kept, or are already")
    cli.add_argument(
        "--memory", action="store_true", help="only search the index in --folder and print the peak memory"
    )
    return cli.parse_args()


def main() -> None:
    """Measure and print."""
    arguments = parse()
    if arguments.memory:
        search_alone(arguments.folder)
        return
    rows = 20_000 if arguments.quick else arguments.rows
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        document: dict[str, Any] = measure(folder / "mixture", rows, arguments, noise=False)
        document["noise"] = measure(folder / "noise", rows // 4, arguments, noise=True)
    met = {
        key: {"target": f"{sign} {limit:g}", "met": document[key] <= limit if sign == "<=" else document[key] >= limit}
        for key, (sign, limit) in TARGETS.items()
    }
    print(json.dumps({**document, "targets": met}))


if __name__ == "__main__":
    main()
