"""One run: many slides, one or several encoders, one engine for each device."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from foundation.contract import EmbedOptions, breaches_of_contract, require_allowed
from foundation.embeddings import Embeddings
from foundation.encoder import Encoder
from foundation.engine.batcher import Batcher
from foundation.engine.device import Device, devices_of
from foundation.engine.item import Clock, Item, SlideOutcome, SlideSource, Tally, Task
from foundation.engine.lane import Lane
from foundation.engine.reading import Reader
from foundation.engine.report import RunReport, achieved, device_report, fed_rate, flops
from foundation.engine.sheet import let_go
from foundation.errors import ContractError, RunStoppedError
from slides import Address
from tiling.pool import LocalPool
from tiling.store import TileStore

Source = SlideSource | Address | TileStore | Path
UNWRITTEN = 4
"""Slides whose features wait to be written; then the device waits, too, for memory is bounded."""


class EmbedRun:
    """Many slides on their way through encoders; iterate over it once for the outcomes, in the order they come.

    An outcome stands for one slide with one encoder. A run that is given up halfway stops reading and leaves whole
    stores of what was finished.

    Args:
        sources: Slides or stores of tiles.
        encoders: What to run. Those that take tiles of the same size and scales share one read of each slide.
        out: The folder in which `<fingerprint>.embeddings.zarr` appear, and stores of the tiles of slides.
        zooms: Scales in um/px; None for those that an encoder is meant for and a slide has, or all of a store.
        options: How.
        devices: Where; None for what the options say.
        progress: Called with tiles encoded and tiles known of.
    """

    def __init__(
        self,
        sources: Iterable[Source],
        encoders: Sequence[Encoder],
        out: Path,
        *,
        zooms: Sequence[float] | None = None,
        options: EmbedOptions | None = None,
        devices: Sequence[Device] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._options = options or EmbedOptions()
        self._encoders, self._out = tuple(encoders), out
        scales = None if zooms is None else tuple(sorted(set(zooms)))
        self._tasks = [
            Task(where, tuple(Item(number, encoder, self._settled) for encoder in group), wanted, scales is not None)
            for number, where in enumerate(map(SlideSource.of, sources))
            for wanted, group in passes(where, self._encoders, scales, self._options)
        ]
        self._devices = list(devices or self._devices_asked())
        batch = self._options.batch or max(device.batch for device in self._devices)
        buffers = 1 + self._options.queue + sum(device.lanes * (device.depth + 1) for device in self._devices)
        self._batcher = Batcher(batch, buffers, self._devices[0].buffer)
        self._clock, self._tally = Clock(), Tally(progress)
        self._lanes = [
            [Lane(device, self._batcher, lambda count: self._tally.add(done=count)) for _ in range(device.lanes)]
            for device in self._devices
        ]
        self._outcomes: SimpleQueue[SlideOutcome | None] = SimpleQueue()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="write")
        self._unwritten = threading.Semaphore(UNWRITTEN)
        self._said: list[Mapping[str, Any]] = []
        self._wall = 0.0

    def __iter__(self) -> Iterator[SlideOutcome]:
        """Run.

        Yields:
            One outcome for each slide with each encoder.
        """
        supervisor = threading.Thread(target=self._supervise, name="embed")
        supervisor.start()
        try:
            while (outcome := self._outcomes.get()) is not None:
                yield outcome
        finally:
            self._stop(RunStoppedError("The run was given up before this slide was done."))
            supervisor.join()

    def report(self) -> RunReport:
        """What the run did; to be asked when it is over.

        Returns:
            The report.
        """
        lanes = [lane for group in self._lanes for lane in group]
        devices = tuple(map(device_report, self._devices, self._lanes))
        tiles, fed, work = sum(lane.meter.tiles for lane in lanes), fed_rate(lanes), flops(self._encoders)
        shares = [device.idle_share for device in devices if device.idle_share is not None]
        return RunReport(
            wall_s=self._wall,
            tiles=tiles,
            tiles_per_s=tiles / self._wall if self._wall else 0.0,
            tiles_per_s_fed=fed,
            flops_per_tile=work,
            flops_per_s=achieved(lanes, work),
            idle_share=sum(shares) / len(shares) if shares else None,
            longest_gap_s=max(device.longest_gap_s for device in devices),
            batch=self._batcher.size,
            buffer_bytes=self._batcher.bytes,
            seconds=self._clock.seconds | {"encode": sum(device.busy_s for device in devices)},
            devices=devices,
            slides=tuple(self._said),
        )

    def _devices_asked(self) -> list[Device]:
        return devices_of(self._options.device, threads=self._options.threads, compiled=self._options.compile)

    def _supervise(self) -> None:
        """Have everything read, encoded and written; then say that it is over."""
        begin = time.perf_counter()
        threads = [threading.Thread(target=self._encode, args=(lane,)) for group in self._lanes for lane in group]
        for thread in threads:
            thread.start()
        try:
            self._read()
        except Exception as error:  # noqa: BLE001 - it is the outcome of every slide that is not finished
            self._stop(error)
        finally:
            self._batcher.finish()
            for thread in threads:
                thread.join()
            self._writer.shutdown()
            self._wall = time.perf_counter() - begin
            self._outcomes.put(None)

    def _read(self) -> None:
        """Send the tiles of all slides on their way."""
        with LocalPool(self._options.readers) as pool, ThreadPoolExecutor(self._options.ahead + 1, "read") as ahead:
            reader = Reader(self._out, self._options, self._devices[0], self._batcher, pool, self._clock, self._tally)
            for _ in ahead.map(reader.read, self._tasks):
                pass

    def _encode(self, lane: Lane) -> None:
        """A lane's thread; whatever ends it early ends the run, for nobody would take its batches."""
        try:
            lane.run()
        except Exception as error:  # noqa: BLE001 - it is the outcome of every slide that is not finished
            self._stop(error)

    def _stop(self, error: Exception) -> None:
        """Give up everything that is not finished."""
        for task in self._tasks:
            for item in task.items:
                item.sheet.fail(error)
        self._batcher.stop()

    def _settled(self, item: Item) -> None:
        """All features of a slide are there, or none will be."""
        if item.sheet.error is not None or item.found is not None:
            self._say(item, item.found, item.sheet.error)
        else:
            self._unwritten.acquire()
            self._writer.submit(self._write, item)

    def _write(self, item: Item) -> None:
        begin, made, failure = time.perf_counter(), None, None
        try:
            made = item.written(self._out, self._about())
        except Exception as error:  # noqa: BLE001 - it is the outcome of this slide
            let_go(error)
            failure = error
        self._clock.add("write", time.perf_counter() - begin)
        self._say(item, made, failure)
        item.forget()
        self._unwritten.release()

    def _about(self) -> dict[str, Any]:
        """What else a store says of how it was made."""
        return {"devices": [device.name for device in self._devices], "batch": self._batcher.size}

    def _say(self, item: Item, made: Embeddings | None, error: Exception | None) -> None:
        key = item.encoder.spec.key
        reused = made is not None and made is item.found
        state = "failed" if made is None else "reused" if reused else "done"
        self._said.append({"slide": item.number, "encoder": key, "state": state})
        self._outcomes.put(SlideOutcome(item.number, key, made, error, reused, item.warnings))


def passes(
    source: SlideSource, encoders: Sequence[Encoder], zooms: tuple[float, ...] | None, options: EmbedOptions
) -> list[tuple[tuple[float, ...] | None, list[Encoder]]]:
    """How often a source is read, and for whom: encoders that take the same tiles share one pass.

    Args:
        source: A slide or a store.
        encoders: All that are wanted.
        zooms: Scales in um/px; None for those an encoder is meant for, or all of a store.
        options: Hold what the caller allows.

    Returns:
        Scales and encoders of each pass; scales are None for all of a store.

    Raises:
        ContractError: If an encoder states no scale and the caller gives none.
    """
    if source.store is not None:
        return [(zooms, list(encoders))]
    groups: dict[tuple[tuple[float, ...], int], list[Encoder]] = {}
    for encoder in encoders:
        spec, wanted = encoder.spec, zooms or tuple(sorted(encoder.spec.mpp))
        if not wanted:
            raise ContractError(f"Encoder {spec.key!r} states no scale in um/px, so one must be given.")
        require_allowed(breaches_of_contract(spec, dict.fromkeys(wanted, spec.tile_px)), options)
        groups.setdefault((wanted, spec.tile_px), []).append(encoder)
    return [(wanted, group) for (wanted, _), group in groups.items()]
