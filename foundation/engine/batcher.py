"""Tiles of any slides into batches of one shape, in a bounded number of buffers."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from foundation.encoder import Encoder
from foundation.engine.sheet import Sheet
from foundation.errors import RunStoppedError
from foundation.features import resized
from foundation.preprocessing import prepared
from foundation.spec import EncoderSpec

Allocate = Callable[[tuple[int, int, int, int]], NDArray[np.uint8]]


@dataclass(frozen=True, eq=False, slots=True)
class Stream:
    """Tiles that may share a batch: of one side, brought to it in one way, for the same encoders."""

    spec: EncoderSpec
    """Says how tiles are brought to the side that is taken; all encoders of the stream agree in that."""
    images: bool
    """Whether the device takes images of the network's side; else tiles, for encoders that resize them themselves."""
    encoders: tuple[Encoder, ...]

    @property
    def px(self) -> int:
        """Side of what stands in a batch."""
        return self.spec.px if self.images else self.spec.tile_px

    def brought(self, tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Bring tiles to that side; done by readers, for a lane has no time for it.

        Args:
            tiles: RGB [n, side, side, 3].

        Returns:
            [n, px, px, 3].
        """
        tiles = resized(tiles, self.spec.tile_px, self.spec.interpolation)
        return prepared(tiles, self.spec) if self.images else tiles


@dataclass(frozen=True, slots=True)
class Part:
    """Neighbouring tiles of a batch that belong to one slide."""

    sheets: tuple[Sheet, ...]
    """Where features go, one for each encoder of the stream."""
    tickets: NDArray[np.int64]
    """Which tiles of the slide, [n]."""


@dataclass(eq=False, slots=True)
class Batch:
    """Tiles of one shape, whoever they belong to."""

    stream: Stream
    tiles: NDArray[np.uint8]
    """[size, px, px, 3]."""
    parts: list[Part] = field(default_factory=list)
    count: int = 0
    """Tiles in it; the rest is filled up."""


class Batcher:
    """Collects tiles; several threads may put and take.

    Args:
        size: Tiles in a batch.
        buffers: Batches of a stream that exist at most, wherever they are.
        allocate: Gives memory for a batch.
    """

    def __init__(self, size: int, buffers: int, allocate: Allocate) -> None:
        self.size = size
        self._most, self._allocate = buffers, allocate
        self._changed = threading.Condition()
        self._ready: deque[Batch] = deque()
        self._open: dict[Stream, Batch] = {}
        self._free: dict[Stream, list[NDArray[np.uint8]]] = {}
        self._made: dict[Stream, int] = {}
        self._finished = self._stopped = False

    @property
    def bytes(self) -> int:
        """Memory of all buffers made so far."""
        return sum(made * self.size * stream.px**2 * 3 for stream, made in self._made.items())

    def put(self, stream: Stream, part: Part, tiles: NDArray[np.uint8]) -> float:
        """Add tiles of a slide; waits while all buffers are full.

        Args:
            stream: Where to.
            part: Whose they are.
            tiles: RGB [n, side, side, 3]; copied.

        Returns:
            Seconds waited.
        """
        tiles = stream.brought(tiles)
        waited, at = 0.0, 0
        while at < len(tiles):
            with self._changed:
                begin = time.perf_counter()
                batch = self._opened(stream)
                waited += time.perf_counter() - begin
                end = min(len(tiles), at + self.size - batch.count)
                batch.tiles[batch.count : batch.count + end - at] = tiles[at:end]
                batch.parts.append(Part(part.sheets, part.tickets[at:end]))
                batch.count += end - at
                if batch.count == self.size:
                    self._ready.append(self._open.pop(stream))
                    self._changed.notify_all()
            at = end
        return waited

    def take(self, *, wait: bool) -> Batch | None:
        """The next whole batch.

        Args:
            wait: Wait for one; else None where there is none yet.

        Returns:
            The batch; None where none will come any more.
        """
        with self._changed:
            while wait and not self._ready and not (self._finished or self._stopped):
                self._changed.wait()
            return None if self._stopped or not self._ready else self._ready.popleft()

    def give_back(self, batch: Batch) -> None:
        """Say that the buffer of a batch may be filled again.

        Args:
            batch: A batch that was taken.
        """
        with self._changed:
            self._free[batch.stream].append(batch.tiles)
            self._changed.notify_all()

    def finish(self) -> None:
        """Say that no more tiles will come: what is open goes out, filled up with its last tile."""
        with self._changed:
            for batch in self._open.values():
                batch.tiles[batch.count :] = batch.tiles[batch.count - 1]
                self._ready.append(batch)
            self._open.clear()
            self._finished = True
            self._changed.notify_all()

    def stop(self) -> None:
        """Let everybody go who waits here, and take no more."""
        with self._changed:
            self._stopped = True
            self._ready.clear()
            self._open.clear()
            self._changed.notify_all()

    def _opened(self, stream: Stream) -> Batch:
        """The batch that is being filled; waits for a buffer.

        Raises:
            RunStoppedError: If the run is over.
        """
        while not self._stopped:
            if stream not in self._open:
                buffer = self._buffer(stream)
                if buffer is None:
                    self._changed.wait()
                    continue
                self._open[stream] = Batch(stream, buffer)
            return self._open[stream]
        raise RunStoppedError("The run was given up before this slide was done.")

    def _buffer(self, stream: Stream) -> NDArray[np.uint8] | None:
        free = self._free.setdefault(stream, [])
        if free:
            return free.pop()
        if self._made.get(stream, 0) >= self._most:
            return None
        made = self._allocate((self.size, stream.px, stream.px, 3))
        self._made[stream] = self._made.get(stream, 0) + 1  # only now: where there is no room, nobody must wait for it
        return made
