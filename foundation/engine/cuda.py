"""GPUs: bytes go over on a stream of their own while the last batch is computed, features come back unwaited for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foundation.encoder import Encoder
from foundation.engine.device import FULL, Done, HostProgram, Program
from foundation.errors import DeviceError, DeviceFullError
from foundation.torch_encoder import TorchEncoder

PRECISIONS = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
_MEMORY = ("out of memory", "ALLOC_FAILED")
"""What CUDA and its libraries say where torch does not raise its own error."""


_FAILED = ("CUDA error", "CUBLAS_STATUS", "CUDNN_STATUS", "CUSOLVER_STATUS")


def count() -> int:
    """How many GPUs torch can use here.

    Returns:
        The number.
    """
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


@contextmanager
def typed_errors() -> Iterator[None]:
    """Tell a batch that is too large from a device that is gone.

    Yields:
        Nothing.

    Raises:
        DeviceFullError: If it does not fit into memory.
        DeviceError: If CUDA reports anything else.
        RuntimeError: What is none of CUDA's.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DeviceFullError(FULL) from error
    except RuntimeError as error:
        if any(word in str(error) for word in _MEMORY):
            raise DeviceFullError(FULL) from error
        if any(word in str(error) for word in _FAILED):
            raise DeviceError("The GPU went away, or failed, while it worked; what was finished is kept.") from error
        raise


@dataclass(eq=False, slots=True)
class CudaWork:
    """A batch on its way through a GPU."""

    device: CudaDevice
    features: Tensor
    """[n, D], in memory of this machine; filled when `copied`."""
    begin: Any
    end: Any
    copied: Any
    held: tuple[Tensor, Tensor]
    """Tiles here and there: until the result is there nobody else may have their memory."""

    def result(self) -> Done:
        """Wait for it.

        Returns:
            The features.
        """
        with typed_errors():
            self.copied.synchronize()
            begin, end = self.device.clocked(self.begin, self.end)
        return Done(np.asarray(self.features.numpy(), np.float32), begin, end)


@dataclass(frozen=True, eq=False, slots=True)
class CudaProgram:
    """An encoder on a GPU."""

    device: CudaDevice
    network: Any
    """Bytes in, features out; perhaps compiled."""
    precision: torch.dtype

    def submit(self, tiles: NDArray[np.uint8]) -> CudaWork:
        """Begin to encode a batch.

        Args:
            tiles: RGB [n, px, px, 3] in a buffer of the device.

        Returns:
            What to wait for.
        """
        on, cuda = self.device.torch_device, self.device.cuda
        with typed_errors(), torch.inference_mode():
            host = torch.from_numpy(tiles)
            with cuda.stream(self.device.copies):
                images = host.to(on, non_blocking=True)
                arrived = self.device.copies.record_event()
            with cuda.stream(self.device.compute):
                self.device.compute.wait_event(arrived)
                begin = self.device.compute.record_event(cuda.Event(enable_timing=True))
                with torch.autocast(on.type, self.precision, enabled=self.precision is not torch.float32):
                    found = self.network(images).float()
                end = self.device.compute.record_event(cuda.Event(enable_timing=True))
                features = torch.empty(found.shape, dtype=torch.float32, pin_memory=self.device.pinned)
                features.copy_(found, non_blocking=True)
                copied = self.device.compute.record_event(cuda.Event())
        return CudaWork(self.device, features, begin, end, copied, (host, images))


class CudaDevice:
    """One GPU.

    Args:
        torch_device: Which.
        cuda: `torch.cuda`, or something like it.
        compiled: Whether torch compiles networks.
    """

    batch = 256
    lanes = 1
    depth = 2

    def __init__(self, torch_device: torch.device, cuda: Any = torch.cuda, *, compiled: bool = False) -> None:  # noqa: ANN401 - a module
        self.torch_device, self.cuda, self.compiled = torch_device, cuda, compiled
        self.name: str = cuda.get_device_name(torch_device)
        self.pinned = torch_device.type == "cuda"
        self.copies, self.compute = cuda.Stream(torch_device), cuda.Stream(torch_device)
        self._clock, self._last = 0.0, self.compute.record_event(cuda.Event(enable_timing=True))

    @classmethod
    def of(cls, index: int, *, compiled: bool = False) -> Self:
        """A GPU by its number.

        Args:
            index: The number.
            compiled: Whether torch compiles networks.

        Returns:
            The device.
        """
        with typed_errors():
            return cls(torch.device("cuda", index), compiled=compiled)

    def numbers(self, encoder: Encoder) -> Mapping[str, str]:
        """What arithmetic it does.

        Args:
            encoder: For which encoder.

        Returns:
            Kind of device, precision, and whether torch compiled it; nothing for an encoder that is no torch model,
            which runs on the CPU.
        """
        if not isinstance(encoder, TorchEncoder):
            return {}
        compiled = {"compiled": "yes"} if self.compiled else {}
        return {"device": self.torch_device.type, "precision": precision_of(encoder), **compiled}

    def takes_images(self, encoder: Encoder) -> bool:
        """Whether it must be given images of the network's side.

        Args:
            encoder: For which encoder.

        Returns:
            True for torch models.
        """
        return isinstance(encoder, TorchEncoder)

    def buffer(self, shape: tuple[int, int, int, int]) -> NDArray[np.uint8]:
        """Pinned memory, from which copies run beside computation.

        Args:
            shape: [n, px, px, 3].

        Returns:
            The array.
        """
        with typed_errors():
            return np.asarray(torch.empty(shape, dtype=torch.uint8, pin_memory=self.pinned).numpy())

    def load(self, encoder: Encoder) -> Program:
        """Bring an encoder to the GPU; one that is no torch model stays on the CPU.

        Args:
            encoder: The encoder.

        Returns:
            It, ready.
        """
        if not isinstance(encoder, TorchEncoder):
            return HostProgram(encoder)
        # A row that says float32 means it: by default torch rounds what goes into convolutions to 10 bits (TF32).
        torch.backends.cudnn.allow_tf32 = False
        with typed_errors():
            network: Any = encoder.network.copied_to(self.torch_device)
        if self.compiled:
            network = torch.compile(network, dynamic=False)
        return CudaProgram(self, network, PRECISIONS[precision_of(encoder)])

    def relieve(self) -> None:
        """Give memory that torch holds for reuse back to the GPU."""
        with typed_errors():
            self.cuda.empty_cache()

    def clocked(self, begin: Any, end: Any) -> tuple[float, float]:  # noqa: ANN401 - events
        """Put two events on one clock; batches come in order.

        Args:
            begin: The event before a batch.
            end: The event after it.

        Returns:
            Seconds since the device was taken into use.
        """
        start = self._clock + self._last.elapsed_time(begin) / 1000
        self._clock = start + begin.elapsed_time(end) / 1000
        self._last = end
        return start, self._clock


def precision_of(encoder: Encoder) -> str:
    """In what arithmetic an encoder is meant to run on a GPU.

    Args:
        encoder: The encoder.

    Returns:
        `float32`, `float16` or `bfloat16`.
    """
    return encoder.spec.precision
