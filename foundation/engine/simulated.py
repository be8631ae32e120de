"""A device that only takes time, and fails when it is told to: for tests and measurements of everything around it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from foundation.encoder import Encoder
from foundation.engine.device import Done, HostMemory
from foundation.spec import EncoderSpec

Fault = Callable[[int, int], None]
"""Called with the number of a batch, from 0, and its tiles, before it is taken; may raise what a device may."""


def no_fault(number: int, tiles: int) -> None:
    """A device that never fails.

    Args:
        number: Of the batch.
        tiles: In it.
    """
    del number, tiles


@dataclass(frozen=True)
class ColourEncoder:
    """A small real encoder that takes next to no time: mean and spread of each colour."""

    spec: EncoderSpec
    """Its `dim` is 6."""
    weights_digest: str = "0" * 64
    calls: list[int] = field(default_factory=list)
    """Tiles of each batch."""

    @property
    def preprocessing_digest(self) -> str:
        """SHA-256 of the preprocessing, 64 hex digits."""
        return self.spec.preprocessing_digest

    def encode(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Encode a batch.

        Args:
            tiles: RGB tiles [B, px, px, 3]; every eighth pixel is looked at.

        Returns:
            Features [B, 6].
        """
        self.calls.append(len(tiles))
        few = tiles[:, ::8, ::8]
        return np.concatenate([few.mean(axis=(1, 2)), few.std(axis=(1, 2))], axis=1).astype(np.float32)


@dataclass(frozen=True, slots=True)
class SimulatedWork:
    """A batch that is done at a certain time."""

    done: Done

    def result(self) -> Done:
        """Wait until then.

        Returns:
            The features.
        """
        time.sleep(max(0.0, self.done.end - time.perf_counter()))
        return self.done


class SimulatedDevice(HostMemory):
    """Works by itself, one batch after the other, at a fixed rate, as a GPU does; other threads run meanwhile.

    Args:
        rate: Tiles a second.
        batch: Tiles in a batch.
        depth: Batches on their way while the lane hands over the next.
        fault: When it fails.
    """

    name = "simulated"
    lanes = 1

    def __init__(self, rate: float, *, batch: int = 64, depth: int = 1, fault: Fault = no_fault) -> None:
        self.rate, self.batch, self.depth, self.fault = rate, batch, depth, fault
        self.taken: list[int] = []
        """Tiles of each batch that it took."""
        self.relieved = 0
        self._calls = 0
        self._free = 0.0

    def load(self, encoder: Encoder) -> SimulatedProgram:
        """An encoder, which should take next to no time itself.

        Args:
            encoder: Any.

        Returns:
            The program.
        """
        return SimulatedProgram(self, encoder)

    def relieve(self) -> None:
        """Count how often memory was short."""
        self.relieved += 1

    def run(self, encoder: Encoder, tiles: NDArray[np.uint8]) -> SimulatedWork:
        """Take a batch.

        Args:
            encoder: What to run.
            tiles: RGB [n, px, px, 3].

        Returns:
            What to wait for.
        """
        self._calls += 1
        self.fault(self._calls - 1, len(tiles))
        self.taken.append(len(tiles))
        return self.busy(encoder.encode(tiles))

    def busy(self, rows: NDArray[np.float32]) -> SimulatedWork:
        """Be busy with as many tiles as there are rows.

        Args:
            rows: Their features, [n, D].

        Returns:
            What to wait for.
        """
        begin = max(self._free, time.perf_counter())
        self._free = begin + len(rows) / self.rate
        return SimulatedWork(Done(rows, begin, self._free))


@dataclass(frozen=True, slots=True)
class SimulatedProgram:
    """An encoder on a simulated device."""

    device: SimulatedDevice
    encoder: Encoder

    def submit(self, tiles: NDArray[np.uint8]) -> SimulatedWork:
        """Begin to encode a batch.

        Args:
            tiles: RGB [n, px, px, 3].

        Returns:
            What to wait for.
        """
        return self.device.run(self.encoder, tiles)
