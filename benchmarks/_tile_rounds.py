"""Whole runs of tiling, measured in interleaved rounds; what the parts of `tile.py` share."""

from __future__ import annotations

import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slides import Address, identity
from tiling import DEFAULT_ZOOMS, Pool, TileSpec, tile
from tiling.shard import Keep

SPECS = tuple(TileSpec(mpp=mpp) for mpp in DEFAULT_ZOOMS)
MPP = SPECS[0].mpp


@dataclass(frozen=True, slots=True)
class Spent:
    """What one run took, in seconds."""

    cpu: float
    """Of all threads and of the processes it started."""
    wall: float


def spent(run: Callable[[], object]) -> Spent:
    """Run and measure; CPU time of children counts once they have ended."""
    cpu, wall = cpu_seconds(), time.perf_counter()
    run()
    return Spent(cpu_seconds() - cpu, time.perf_counter() - wall)


def cpu_seconds() -> float:
    """CPU time of this process and its ended children."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def forget() -> None:
    """Make this process read every slide for its hash again, as the first run on a slide does."""
    identity._known.clear()  # noqa: SLF001 - only a benchmark tiles one slide twice in a process


@dataclass(frozen=True, slots=True)
class Bench:
    """What is measured and where."""

    address: Address
    path: Path
    scratch: Path
    rounds: int

    def ours(self, specs: Sequence[TileSpec], keep: Keep, pool: Pool) -> Spent:
        """One whole run, as if it were the first on this slide; its store is gone afterwards."""
        forget()
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            return spent(lambda: tile(self.address, specs, Path(folder), pool=pool, keep=keep))

    def interleaved(self, ways: Mapping[str, Callable[[], Spent]]) -> dict[str, list[Spent]]:
        """Every way once a round."""
        found: dict[str, list[Spent]] = {name: [] for name in ways}
        for number in range(self.rounds):
            for name, way in ways.items():
                found[name].append(way())
                print(f"round {number + 1}: {name} {found[name][-1].wall:.2f} s", file=sys.stderr)
        return found


def ratio(above: Sequence[Spent], below: Sequence[Spent]) -> Spent:
    """Medians over rounds of the ratios within a round."""
    cpu = [a.cpu / b.cpu for a, b in zip(above, below, strict=True)]
    wall = [a.wall / b.wall for a, b in zip(above, below, strict=True)]
    return Spent(round(statistics.median(cpu), 3), round(statistics.median(wall), 3))


def rates(found: Mapping[str, Sequence[Spent]], tiles: Mapping[str, int]) -> dict[str, dict[str, float]]:
    """Tiles a second by way, of CPU and of wall time, from the median run."""
    return {
        name: {
            "cpu": round(tiles[name] / statistics.median(run.cpu for run in runs), 1),
            "wall": round(tiles[name] / statistics.median(run.wall for run in runs), 1),
        }
        for name, runs in found.items()
    }
