"""The code for GPUs, on a CPU that answers as one: what is waited for, in which arithmetic, and what fails."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from foundation import DeviceError, EmbedRun, embed
from foundation.engine import cuda
from foundation.engine.cuda import CudaDevice, typed_errors
from foundation.engine.device import HostProgram
from foundation.errors import DeviceFullError
from foundation.registry import load_encoder
from foundation.testing import TINY_TIMM, write_tiny_timm
from foundation.torch_encoder import TorchEncoder
from slides import Address
from slides.testing import write_slide
from tiling import TileSpec, tile


class Event:
    """An event of a stream that works at once."""

    def __init__(self, *, enable_timing: bool = False) -> None:
        self.timed, self.at = enable_timing, 0.0

    def elapsed_time(self, other: Event) -> float:
        assert self.timed
        assert other.timed
        return (other.at - self.at) * 1000

    def synchronize(self) -> None:
        assert self.at


@dataclass(eq=False)
class Stream:
    device: torch.device
    waited: list[Event] = field(default_factory=list)

    def record_event(self, event: Event | None = None) -> Event:
        event = event or Event()
        event.at = time.perf_counter()
        return event

    def wait_event(self, event: Event) -> None:
        self.waited.append(event)


class FakeCuda:
    """As much of `torch.cuda` as the engine uses."""

    def __init__(self) -> None:
        self.emptied = 0
        self.Event, self.Stream = Event, Stream

    @contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        assert isinstance(stream, Stream)
        yield

    def get_device_name(self, device: torch.device) -> str:
        return f"pretended {device}"

    def empty_cache(self) -> None:
        self.emptied += 1


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> TorchEncoder:
    loaded = load_encoder(TINY_TIMM, write_tiny_timm(tmp_path_factory.mktemp("weights") / "w.safetensors"))
    assert isinstance(loaded, TorchEncoder)
    return loaded


@pytest.fixture
def device() -> CudaDevice:
    return CudaDevice(torch.device("cpu"), FakeCuda())


def test_features_are_those_of_the_cpu(encoder: TorchEncoder, device: CudaDevice) -> None:
    tiles = device.buffer((4, 160, 160, 3))
    tiles[:] = np.random.default_rng(0).integers(0, 256, tiles.shape)
    program = device.load(encoder)
    works = [program.submit(tiles), program.submit(tiles)]
    first, second = (work.result() for work in works)
    assert np.array_equal(first.rows, encoder.encode(tiles))
    assert first.begin < first.end <= second.begin < second.end
    assert len(device.compute.waited) == 2  # for the copies
    assert device.numbers(encoder) == {"device": "cpu", "precision": "float32"}


def test_half_precision_is_near_and_named(
    encoder: TorchEncoder, device: CudaDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda, "precision_of", lambda _: "bfloat16")
    tiles = np.random.default_rng(0).integers(0, 256, (4, 160, 160, 3), np.uint8)
    rows, exact = device.load(encoder).submit(tiles).result().rows, encoder.encode(tiles)
    assert rows.dtype == np.float32
    assert not np.array_equal(rows, exact)
    assert np.abs(rows - exact).max() < 0.1 * np.abs(exact).max()
    assert device.numbers(encoder)["precision"] == "bfloat16"
    assert CudaDevice(torch.device("cpu"), FakeCuda(), compiled=True).numbers(encoder)["compiled"] == "yes"


def test_single_precision_is_not_rounded_in_secret(
    encoder: TorchEncoder, device: CudaDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    device.load(encoder)
    assert not torch.backends.cudnn.allow_tf32


def test_the_encoder_on_the_cpu_is_not_touched(encoder: TorchEncoder, device: CudaDevice) -> None:
    program: Any = device.load(encoder)
    own = {id(weight) for weight in encoder.network.parameters()}
    assert not own & {id(weight) for weight in program.network.parameters()}


def test_a_store_of_other_numbers_has_another_name_and_says_why(
    encoder: TorchEncoder, device: CudaDevice, tmp_path: Path
) -> None:
    slide = Address.of(write_slide(tmp_path / "drawn.svs", size=(900, 700), seed=3))
    store = tile(slide, [TileSpec(1.0, px=160)], tmp_path, keep="raw")
    plain = embed(store, encoder, tmp_path)
    (outcome,) = EmbedRun([store], [encoder], tmp_path, devices=[device])
    made = outcome.get()
    assert made.fingerprint != plain.fingerprint
    assert made.provenance["arithmetic"] == {
        "device": "cpu",
        "precision": "float32",
        "devices": ["pretended cpu"],
        "batch": 256,
    }
    assert "arithmetic" not in plain.provenance
    assert np.allclose(made.features(1.0), plain.features(1.0), atol=1e-2)


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), DeviceFullError),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), DeviceFullError),
        (RuntimeError("CUDA error: out of memory"), DeviceFullError),
        (torch.AcceleratorError("CUDA error: unspecified launch failure"), DeviceError),
        (RuntimeError("CUDA error: the launch timed out and was terminated"), DeviceError),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), DeviceError),
        (RuntimeError("Input type (CUDABFloat16Type) and weight type (CUDAFloatType) differ"), RuntimeError),
        (RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"), RuntimeError),
        (ValueError("of the model"), ValueError),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else str(value)[:30],
)
def test_what_cuda_says_becomes_an_error_of_ours(raised: Exception, expected: type[Exception]) -> None:
    with pytest.raises(expected) as caught, typed_errors():
        raise raised
    assert type(caught.value) is expected or caught.value is raised


def test_memory_is_given_back(device: CudaDevice) -> None:
    device.relieve()
    assert device.cuda.emptied == 1


def test_an_encoder_without_torch_stays_on_the_cpu(encoder: TorchEncoder, device: CudaDevice) -> None:
    @dataclass
    class Plain:
        spec = replace(encoder.spec, key="plain")
        weights_digest = preprocessing_digest = "0" * 64

        def encode(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
            return np.asarray(tiles.mean(axis=(1, 2)), np.float32)

    assert isinstance(device.load(Plain()), HostProgram)
    assert device.numbers(Plain()) == {}
