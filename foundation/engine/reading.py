"""The tiles of a slide on their way into batches: cut in one pass that also makes its tile store, or from a store."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foundation.contract import EmbedOptions, breaches_of_contract, require_allowed
from foundation.embed_store import Making
from foundation.embeddings import Embeddings
from foundation.encoder import Encoder
from foundation.engine.batcher import Batcher, Part, Stream
from foundation.engine.device import Device
from foundation.engine.item import Clock, Item, Reading, Tally, Task
from foundation.engine.turns import Turn, TurnPool
from slides import open_slide
from tiling.blueprint import stage_fingerprint
from tiling.commit import is_committed
from tiling.plan import scales_within
from tiling.pool import LocalPool
from tiling.spec import TileSpec
from tiling.stage import tile_and_measure
from tiling.staging import sweep
from tiling.store import TileStore

Streams = list[tuple[Stream, tuple[Item, ...]]]


class Tap:
    """Takes tiles where they are cut. Instead of features, it gives tickets by which features are found later.

    Args:
        batcher: Where tiles go.
        streams: Which batches they go into, and for whom.
        clock: Told how long readers waited for room.
    """

    def __init__(self, batcher: Batcher, streams: Streams, clock: Clock) -> None:
        self.digest = uuid.uuid4().hex
        """Never that of another run, whose tickets would mean nothing here."""
        self._batcher, self._streams, self._clock = batcher, streams, clock
        self._lock = threading.Lock()
        self.given = 0

    def __call__(self, mpp: float, tiles: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Take tiles.

        Args:
            mpp: Their scale, which plays no part any more.
            tiles: RGB [n, side, side, 3].

        Returns:
            Tickets [n, 1]. Where all encoders have failed on this slide, their error is raised.
        """
        del mpp
        _require_alive([item for _, items in self._streams for item in items])
        with self._lock:
            tickets = np.arange(self.given, self.given + len(tiles))
            self.given += len(tiles)
        for stream, items in self._streams:
            part = Part(tuple(item.sheet for item in items), tickets)
            self._clock.waited(self._batcher.put(stream, part, tiles))
        return tickets[:, None]


def _require_alive(items: Sequence[Item]) -> None:
    errors = [item.sheet.error for item in items]
    if all(errors):
        raise next(error for error in errors if error)


@dataclass(eq=False)
class Reader:
    """Reads one task after the other; several threads may."""

    out: Path
    options: EmbedOptions
    device: Device
    batcher: Batcher
    pool: LocalPool
    clock: Clock
    tally: Tally
    turn: threading.Lock = field(default_factory=threading.Lock)
    streams: dict[tuple[int, ...], Stream] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def read(self, task: Task) -> None:
        """Send all tiles of a slide on their way; an error is the slide's own.

        Args:
            task: What to read, and for whom.
        """
        todo = [item for item in task.items if item.sheet.error is None]
        try:
            if todo:
                self._read(task, todo)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a slide is the outcome of that slide
            for item in todo:
                item.sheet.fail(error)

    def _read(self, task: Task, todo: list[Item]) -> None:
        source, begin = task.source, time.perf_counter()
        if source.store is not None:
            store = source.store if isinstance(source.store, TileStore) else TileStore.open(source.store)
            self.clock.add("open", time.perf_counter() - begin)
            for item in todo:
                item.warnings = store.info.warnings
            zooms = store.zooms if task.zooms is None else set(task.zooms)
            grids = [store.grid(mpp) for mpp in zooms]
            todo = self._prepared(todo, store.fingerprint, {grid.mpp: grid.spec.px for grid in grids})
            if todo:
                self._from_store(task, todo, store)
        else:
            self._from_slide(task, todo)

    def _prepared(self, items: list[Item], tiles: str, zooms: Mapping[float, int]) -> list[Item]:
        """Items that are still to do: allowed, and not there already."""
        todo = []
        for item in items:
            try:
                item.making = self._making(item.encoder, zooms)
                place = item.making.place(tiles, self.out)
                if is_committed(place):
                    item.found = Embeddings.open(place)
                    item.sheet.expect(0)
                else:
                    todo.append(item)
            except Exception as error:  # noqa: BLE001 - of this encoder; others may do
                item.sheet.fail(error)
        return todo

    def _making(self, encoder: Encoder, zooms: Mapping[float, int]) -> Making:
        ordered = {mpp: zooms[mpp] for mpp in sorted(zooms)}
        breaches = breaches_of_contract(encoder.spec, ordered)
        require_allowed(breaches, self.options)
        return Making(encoder, tuple(ordered), breaches, self.device.numbers(encoder))

    def _from_slide(self, task: Task, todo: list[Item]) -> None:
        """Cut a slide; the store of its tiles, without pixels, is made in the same pass."""
        source, address, begin = task.source, task.source.where, time.perf_counter()
        with open_slide(address) as slide:
            zooms = task.zooms or ()
            wanted = zooms if task.asked else scales_within(slide.info, zooms)
            specs = [TileSpec(mpp=mpp, px=todo[0].encoder.spec.tile_px) for mpp in wanted]
            name = stage_fingerprint(slide.info, specs, "no", *filter(None, [source.selection]))
            for item in todo:
                item.warnings = slide.info.warnings
        opened = time.perf_counter()
        self.clock.add("open", opened - begin)
        todo = self._prepared(todo, name, {spec.mpp: spec.px for spec in specs})
        if not todo:
            return
        tap = self._tap(todo)
        pool = TurnPool(
            self.pool,
            Turn(self.turn),
            lambda: self.clock.add("segment", time.perf_counter() - opened),
            lambda seconds: self.clock.add("read", seconds),
        )
        how: Any = {"pool": pool, "selection": source.selection, "progress": self._planned(len(todo))}
        try:
            store, rows = tile_and_measure(address, specs, self.out, tap, **how)
        except Exception:
            sweep(self.out.absolute() / f"{name}.tiles.zarr")  # tickets of a run that is over help no later one
            raise
        if rows is None:
            self._from_store(task, todo, store)
        else:
            self._expect(todo, Reading(store, {mpp: rows[mpp][:, 0] for mpp in rows}))

    def _from_store(self, task: Task, todo: list[Item], store: TileStore) -> None:
        """Read the pixels that a store keeps, or cut those that it describes."""
        zooms = next(item.making.zooms for item in todo if item.making)
        tap = self._tap(todo)
        self.tally.add(total=len(todo) * sum(len(store.grid(mpp)) for mpp in zooms))
        tickets = {}
        with Turn(self.turn), self.clock.spent("read"):
            for mpp in zooms:
                tickets[mpp] = np.full(len(store.grid(mpp)), -1, np.int64)
                for index, tiles in store.batches(mpp, self.batcher.size, task.source.address, self.pool.threads):
                    tickets[mpp][index] = tap(mpp, tiles)[:, 0]
        self._expect(todo, Reading(store, tickets))

    def _expect(self, todo: list[Item], reading: Reading) -> None:
        count = sum(len(tickets) for tickets in reading.tickets.values())
        for item in todo:
            item.reading = reading
            item.sheet.expect(count)

    def _tap(self, todo: list[Item]) -> Tap:
        """A tap into the streams that some encoders need: those that take the same pixels share one."""
        groups: dict[tuple[Any, ...], list[Item]] = {}
        for item in todo:
            spec, images = item.encoder.spec, self.device.takes_images(item.encoder)
            groups.setdefault((images, spec.tile_px, spec.px, spec.resize, spec.crop, spec.interpolation), []).append(
                item
            )
        return Tap(self.batcher, [(self._stream(items), tuple(items)) for items in groups.values()], self.clock)

    def _stream(self, items: list[Item]) -> Stream:
        encoders = tuple(item.encoder for item in items)
        key, first = tuple(map(id, encoders)), encoders[0]
        with self._lock:
            return self.streams.setdefault(key, Stream(first.spec, self.device.takes_images(first), encoders))

    def _planned(self, encoders: int) -> Callable[[int, int], None]:
        known = False

        def planned(done: int, total: int) -> None:
            nonlocal known
            del done
            if not known:
                known = True
                self.tally.add(total=encoders * total)

        return planned
