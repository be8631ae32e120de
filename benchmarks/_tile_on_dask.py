"""Tiling on two Dask workers against one thread, and where the workers' time goes. Workers import this module."""

from __future__ import annotations

import functools
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2

from benchmarks._tile_rounds import SPECS, Bench, Spent, forget, ratio
from slides.synthetic import write_slide
from tiling import LocalPool, Needs, Outcome, Pool, tile
from tiling.pool import ANYWHERE, Item, Result

WORKERS = 2


def peak_mb() -> float:
    """Peak memory of this process in MB; not ru_maxrss, which is inherited from the parent across exec."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024


def warm(slide: str) -> int:
    """Import and run once all that tiling needs, on one core.

    Args:
        slide: A small slide, another than the measured one.

    Returns:
        How many tiles it has.
    """
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder, LocalPool(1) as pool:
        return len(tile(slide, SPECS, Path(folder), pool=pool).grids[0])


@dataclass(frozen=True, slots=True)
class Span:
    """When a task ran and where, by the machine's monotonic clock, which all its processes share."""

    process: int
    start: float
    end: float
    cpu: float
    """Seconds of CPU time of the whole process in between."""


def timed(function: Callable[[Item], Result], item: Item) -> tuple[Result, Span]:
    """Call a function.

    Args:
        function: What to call.
        item: With what.

    Returns:
        What it returned, and when it ran.
    """
    start, cpu = time.monotonic(), time.process_time()
    result = function(item)
    return result, Span(os.getpid(), start, time.monotonic(), time.process_time() - cpu)


@dataclass
class Watched(Pool):
    """Another pool, and when its tasks of one run ran."""

    inner: Pool
    spans: list[Span] = field(default_factory=list)
    start: float = 0.0
    """When the first item was asked for ..."""
    end: float = 0.0
    """... and when the last outcome was at hand: planning before and committing after are not the scheduler's."""

    def outcomes(
        self, function: Callable[[Item], Result], items: Iterable[Item], needs: Needs = ANYWHERE
    ) -> Iterator[Outcome[Result]]:
        """Hand on to the other pool.

        Args:
            function: What to apply.
            items: Its arguments.
            needs: What a worker must have.

        Yields:
            The outcomes of the other pool.
        """
        self.spans, self.start = [], time.monotonic()
        for outcome in self.inner.outcomes(functools.partial(timed, function), items, needs):
            result, span = outcome.get()
            self.spans.append(span)
            yield Outcome(value=result)
        self.end = time.monotonic()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the other pool to whoever opened it."""

    @property
    def busy(self) -> float:
        """Seconds inside tasks, over all workers."""
        return sum(span.end - span.start for span in self.spans)

    @property
    def cpu(self) -> float:
        """CPU seconds of tasks, over all workers."""
        return sum(span.cpu for span in self.spans)

    def idle(self, workers: int) -> dict[str, float]:
        """Where workers were not inside a task, as shares of workers x the time from start to end.

        Args:
            workers: How many there are, one thread each.

        Returns:
            `start` until a worker's first task, `between` its tasks, `tail` after its last one (one worker has nothing
            left to do while another is not done: the size of tasks, not the scheduler), and `all` of them.
        """
        whole = workers * (self.end - self.start)
        lines = [
            sorted((s.start, s.end) for s in self.spans if s.process == p) for p in {s.process for s in self.spans}
        ]
        start = sum(line[0][0] - self.start for line in lines)
        tail = sum(self.end - line[-1][1] for line in lines) + (workers - len(lines)) * (self.end - self.start)
        shares = {"start": start, "between": sum(map(_gaps, lines)), "tail": tail, "all": whole - self.busy}
        return {name: seconds / whole for name, seconds in shares.items()}


def _gaps(line: Sequence[tuple[float, float]]) -> float:
    return sum(later[0] - earlier[1] for earlier, later in itertools.pairwise(line))


def on_dask(bench: Bench) -> dict[str, Any]:
    """Two warm workers against one thread, and where the workers' time goes."""
    from tiling.cluster import DaskPool

    seen: dict[str, list[dict[str, float]]] = {"local1": [], "dask2": []}

    def run(name: str, pool: Watched, workers: int) -> Spent:
        client.run(forget)
        took = bench.ours(SPECS, "jpeg", pool)
        outside = 1 - (pool.end - pool.start) / took.wall
        seen[name].append({**pool.idle(workers), "outside": outside, "wall": pool.busy, "cpu": pool.cpu})
        return took

    with DaskPool(workers=WORKERS) as dask, LocalPool(1) as local, tempfile.TemporaryDirectory() as folder:
        small = write_slide(Path(folder) / "warm.svs", size=(3000, 2400), mpp=0.25, seed=1)
        client = dask._client  # noqa: SLF001 - pools have no call that reaches every worker
        client.run(warm, str(small))
        one, two = Watched(local), Watched(dask)
        ways = {"local1": lambda: run("local1", one, 1), "dask2": lambda: run("dask2", two, WORKERS)}
        found = bench.interleaved(ways)
        peaks = client.run(peak_mb).values()
    mid = {name: {key: statistics.median(run[key] for run in runs) for key in runs[0]} for name, runs in seen.items()}
    return {
        "dask2_over_local1": ratio(found["local1"], found["dask2"]).wall,
        "scheduler_overhead": round(mid["dask2"]["all"], 4),
        "dask": {
            "bands": len(two.spans),
            "idle_share": {key: round(mid["dask2"][key], 4) for key in ("start", "between", "tail")},
            "share_of_wall_before_and_after_bands": {name: round(each["outside"], 4) for name, each in mid.items()},
            "band_cpu_over_local1": round(mid["dask2"]["cpu"] / mid["local1"]["cpu"], 3),
            "band_wall_over_local1": round(mid["dask2"]["wall"] / mid["local1"]["wall"], 3),
            "wall_seconds": {name: round(statistics.median(s.wall for s in runs), 2) for name, runs in found.items()},
        },
        "worker_rss_mb": round(max(peaks)),
    }
