"""A thread that keeps a device fed: it hands over the next batch before it waits for the last one."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from foundation.encoder import Encoder
from foundation.engine.batcher import Batch, Batcher
from foundation.engine.device import Device, Program, Work
from foundation.engine.meter import Meter
from foundation.errors import DeviceError, DeviceFullError

Sent = list[list[Work] | Exception]
"""For each encoder of a batch: its works, one for each piece of the batch, or why there are none."""


@dataclass(eq=False)
class Lane:
    """One of a device's threads."""

    device: Device
    batcher: Batcher
    delivered: Callable[[int], None]
    """Told how many tiles one encoder has done."""
    meter: Meter = field(default_factory=Meter)
    halvings: int = 0
    """How often a batch did not fit and was divided."""
    size: int = 0
    """Tiles that the device is given at once."""

    encoded: Counter[str] = field(default_factory=Counter)
    """Tiles that each encoder has done, by its key."""

    def __post_init__(self) -> None:
        self.size = self.size or self.batcher.size
        self._programs: dict[int, Program] = {}

    def run(self) -> None:
        """Encode until no more batches come."""
        waiting: deque[tuple[Batch, Sent]] = deque()
        while True:
            batch = self.batcher.take(wait=not waiting)
            if batch is not None:
                waiting.append((batch, [self._sent(encoder, batch) for encoder in batch.stream.encoders]))
            elif not waiting:
                return
            if batch is None or len(waiting) > self.device.depth:
                self._deliver(*waiting.popleft())

    def _sent(self, encoder: Encoder, batch: Batch) -> list[Work] | Exception:
        """A batch on its way to one encoder.

        Raises:
            DeviceError: If the device is gone, or too small for the encoder or a single tile.
        """
        try:
            program = self._programs.get(id(encoder))
            if program is None:
                program = self._programs[id(encoder)] = self.device.load(encoder)
            return self._submitted(program, batch.tiles)
        except DeviceFullError as error:  # of the weights: works that do not fit are divided
            raise DeviceError("The device has not enough memory for the encoder.") from error
        except DeviceError:
            raise
        except Exception as error:  # noqa: BLE001 - the encoder's own: its slides fail, the run goes on
            return error

    def _submitted(self, program: Program, tiles: NDArray[np.uint8]) -> list[Work]:
        works: list[Work] = []
        at = 0
        while at < len(tiles):
            work = self._work(program, tiles[at : at + self.size])
            if work is None:
                self._halve()
            else:
                works.append(work)
                at += self.size
        return works

    def _work(self, program: Program, tiles: NDArray[np.uint8]) -> Work | None:
        """A piece on its way, None where it does not fit: its error is gone by then, for it holds what was computed.

        Raises:
            DeviceError: If one tile was too much.
        """
        try:
            return program.submit(tiles)
        except DeviceFullError as error:
            if self.size == 1:
                raise DeviceError("The device has not enough memory for a single tile.") from error
            return None

    def _halve(self) -> None:
        """Give the device less at once from now on: a half, or the next part below that divides a batch evenly."""
        self.size = next(size for size in range(self.size // 2, 0, -1) if self.batcher.size % size == 0)
        self.halvings += 1
        self.device.relieve()

    def _deliver(self, batch: Batch, sent: Sent) -> None:
        """Wait for a batch and hand its features out."""
        for which, works in enumerate(sent):
            rows = works if isinstance(works, Exception) else self._waited(works, batch.count)
            if not isinstance(rows, Exception):
                self.encoded[batch.stream.encoders[which].spec.key] += batch.count
            self._hand_out(batch, which, rows)
        self.batcher.give_back(batch)

    def _waited(self, works: list[Work], count: int) -> NDArray[np.float32] | Exception:
        """The features of the tiles of a batch.

        Raises:
            DeviceError: If the device is gone.
        """
        try:
            done = [work.result() for work in works]
        except DeviceError:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            return error
        for piece in done:
            self.meter.add(piece.begin, piece.end, 0)
        self.meter.tiles += count
        return np.concatenate([piece.rows for piece in done])[:count]

    def _hand_out(self, batch: Batch, which: int, rows: NDArray[np.float32] | Exception) -> None:
        at = 0
        for part in batch.parts:
            sheet = part.sheets[which]
            if isinstance(rows, Exception):
                sheet.fail(rows)
            else:
                sheet.add(part.tickets, rows[at : at + len(part.tickets)])
            at += len(part.tickets)
        self.delivered(batch.count)
