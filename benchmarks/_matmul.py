"""How fast a device multiplies matrices, and when it was busy."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

from foundation.engine.meter import Meter

Timed = Callable[[Meter, int], AbstractContextManager[None]]


def matmul_rate(where: torch.device, side: int, rounds: int = 20) -> float:
    """Floating-point operations a second of products of square matrices; a multiply-add is two.

    Args:
        where: The device.
        side: Rows and columns.
        rounds: Products timed, after three that warm up.

    Returns:
        The rate of the fastest of three goes.
    """
    kind = torch.float32 if where.type == "cpu" else torch.bfloat16
    a, b = (torch.randn(side, side, device=where).to(kind) for _ in range(2))
    best = 0.0
    for _ in range(3):
        for _ in range(3):
            a @ b
        _wait(where)
        begin = time.perf_counter()
        for _ in range(rounds):
            a @ b
        _wait(where)
        best = max(best, rounds * 2 * side**3 / (time.perf_counter() - begin))
    return best


def timed(where: torch.device) -> Timed:
    """Notes when a device was busy with what is called inside.

    Args:
        where: The device.

    Returns:
        To be entered with a meter and a number of tiles.
    """
    begin, cuda = time.perf_counter(), torch.cuda if where.type == "cuda" else None
    zero: Any = cuda.Event(enable_timing=True) if cuda else None
    if zero is not None:
        zero.record()

    @contextmanager
    def on_host(meter: Meter, tiles: int) -> Iterator[None]:
        start = time.perf_counter() - begin
        yield
        meter.add(start, time.perf_counter() - begin, tiles)

    @contextmanager
    def on_gpu(meter: Meter, tiles: int) -> Iterator[None]:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        yield
        end.record()
        end.synchronize()
        meter.add(zero.elapsed_time(start) / 1000, zero.elapsed_time(end) / 1000, tiles)

    return on_gpu if cuda else on_host


def _wait(where: torch.device) -> None:
    if where.type == "cuda":
        torch.cuda.synchronize(where)
