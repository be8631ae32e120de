"""Where batches are encoded. All that knows of a kind of device stands behind these few words."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from foundation.encoder import Encoder
from foundation.errors import DeviceError, DeviceFullError
from foundation.features import BATCH

FULL = "The device has not enough memory for this batch."


@dataclass(frozen=True, slots=True)
class Done:
    """A batch that is encoded."""

    rows: NDArray[np.float32]
    """[n, D]."""
    begin: float
    """When the device began with it, in seconds of its own clock; its input was there by then."""
    end: float
    """When it was done."""


@runtime_checkable
class Work(Protocol):
    """A batch on its way."""

    def result(self) -> Done:
        """Wait for it.

        Returns:
            The features, and when the device was busy with them.
        """


@runtime_checkable
class Program(Protocol):
    """An encoder on a device."""

    def submit(self, tiles: NDArray[np.uint8]) -> Work:
        """Begin to encode a batch; returns before it is done where the device can work by itself.

        Args:
            tiles: RGB [n, px, px, 3] in a buffer of the device; unchanged until the result is there.

        Returns:
            What to wait for; `DeviceFullError` where it does not fit, `DeviceError` where the device is gone.
        """


@runtime_checkable
class Device(Protocol):
    """Something that encodes."""

    @property
    def name(self) -> str:
        """What it is, for people."""

    @property
    def batch(self) -> int:
        """Tiles in a batch where the caller has no wish."""

    @property
    def lanes(self) -> int:
        """Threads that hand it batches."""

    @property
    def depth(self) -> int:
        """Batches of a lane that are on their way while the lane hands over the next."""

    def numbers(self, encoder: Encoder) -> Mapping[str, str]:
        """What arithmetic it does.

        Args:
            encoder: For which encoder.

        Returns:
            Kind of device and precision; empty for float32 on the CPU.
        """

    def takes_images(self, encoder: Encoder) -> bool:
        """Whether it must be given images of the network's side.

        Args:
            encoder: For which encoder.

        Returns:
            False where the encoder brings tiles to that side itself.
        """

    def buffer(self, shape: tuple[int, int, int, int]) -> NDArray[np.uint8]:
        """Memory of this machine from which the device reads quickly.

        Args:
            shape: [n, px, px, 3].

        Returns:
            The array.
        """

    def load(self, encoder: Encoder) -> Program:
        """Bring an encoder to the device.

        Args:
            encoder: The encoder.

        Returns:
            It, ready for one lane.
        """

    def relieve(self) -> None:
        """Give back memory that is held for reuse: a batch did not fit."""


@dataclass(frozen=True, slots=True)
class HostWork:
    """A batch that was encoded on the spot."""

    done: Done

    def result(self) -> Done:
        """The features.

        Returns:
            What was computed.
        """
        return self.done


@dataclass(frozen=True, slots=True)
class HostProgram:
    """An encoder that computes where it is called."""

    encoder: Encoder

    def submit(self, tiles: NDArray[np.uint8]) -> HostWork:
        """Encode.

        Args:
            tiles: RGB [n, px, px, 3].

        Returns:
            The features.

        Raises:
            DeviceFullError: If they do not fit into memory.
        """
        begin = time.perf_counter()
        try:
            rows = self.encoder.encode(tiles)
        except MemoryError as error:
            raise DeviceFullError(FULL) from error
        return HostWork(Done(rows, begin, time.perf_counter()))


class HostMemory:
    """What every device answers that encodes on this machine's own cores, from this machine's own memory."""

    __slots__ = ()

    def numbers(self, encoder: Encoder) -> Mapping[str, str]:
        """Float32 on the CPU, whatever the encoder.

        Args:
            encoder: Any.

        Returns:
            Nothing to say.
        """
        del encoder
        return {}

    def takes_images(self, encoder: Encoder) -> bool:
        """Tiles, as encoders take them.

        Args:
            encoder: Any.

        Returns:
            False.
        """
        del encoder
        return False

    def buffer(self, shape: tuple[int, int, int, int]) -> NDArray[np.uint8]:
        """Plain memory.

        Args:
            shape: [n, px, px, 3].

        Returns:
            The array.
        """
        return np.empty(shape, np.uint8)


@dataclass(frozen=True, slots=True)
class CpuDevice(HostMemory):
    """The cores of this machine: a lane each, pinned to one torch thread, so that the bits do not depend on them."""

    threads: int | None = None
    """Lanes; None for one a core."""
    name: str = "cpu"
    batch: int = BATCH
    depth: int = 0

    @property
    def lanes(self) -> int:
        """One a core."""
        return self.threads or len(os.sched_getaffinity(0))

    def load(self, encoder: Encoder) -> HostProgram:
        """An encoder as it is.

        Args:
            encoder: Any.

        Returns:
            The program.
        """
        return HostProgram(encoder)

    def relieve(self) -> None:
        """Nothing is held."""


def devices_of(name: str, *, threads: int | None = None, compiled: bool = False) -> list[Device]:
    """The devices that a caller asks for.

    Args:
        name: `cpu`, `cuda`, `cuda:<number>` or `auto`.
        threads: Lanes on the CPU.
        compiled: Whether torch compiles networks for GPUs.

    Returns:
        At least one.

    Raises:
        DeviceError: If there is no such device here.
    """
    kind, _, number = name.partition(":")
    if name == "cpu":
        return [CpuDevice(threads)]
    if kind not in {"cuda", "auto"} or (number and not number.isdecimal()) or name.startswith("auto:"):
        raise DeviceError(f"There is no device {name[:20]!r}; there are auto, cpu, cuda and cuda:<number>.")
    from foundation.engine import cuda  # torch is loaded only where a GPU may be used

    count = cuda.count()
    wanted = [int(number)] if number else list(range(count))
    if name == "auto" and not count:
        return [CpuDevice(threads)]
    if not wanted or max(wanted) >= count:
        raise DeviceError(f"This machine has {count} GPUs that torch can use, so there is no {name!r} here.")
    return [cuda.CudaDevice.of(index, compiled=compiled) for index in wanted]
