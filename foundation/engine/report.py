"""What a run reports of itself: how long the device waited, how much it did, where the time went."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from foundation.encoder import Encoder
from foundation.engine.device import Device
from foundation.engine.lane import Lane
from foundation.engine.meter import idle


@runtime_checkable
class Counted(Protocol):
    """An encoder that knows how much it computes."""

    def flops_per_tile(self) -> int | None:
        """Floating-point operations for one tile; a multiply-add counts as two.

        Returns:
            The number, None where it cannot be counted.
        """


@dataclass(frozen=True, slots=True)
class DeviceReport:
    """One device in one run."""

    name: str
    lanes: int
    idle_share: float | None
    """Of the time from the end of the first batch to the end of the last; None with fewer than two batches."""
    longest_gap_s: float
    """Longest wait between two batches in that time."""
    busy_s: float
    """Seconds of all lanes."""
    batch: int
    """Tiles given at once, in the end."""
    batches: int
    oom_halvings: int
    """How often a batch did not fit into memory and was divided."""


@dataclass(frozen=True, slots=True)
class RunReport:
    """One run of the engine."""

    wall_s: float
    tiles: int
    """Encodings: tiles times encoders."""
    tiles_per_s: float
    """Over the whole run, with opening the first slide and writing the last."""
    tiles_per_s_fed: float | None
    """After the first batch."""
    flops_per_tile: Mapping[str, int | None]
    """By encoder."""
    flops_per_s: float | None
    """Achieved after the first batch; None where the operations of an encoder that ran cannot be counted."""
    idle_share: float | None
    """The mean over devices."""
    longest_gap_s: float
    batch: int
    """Tiles in a batch."""
    buffer_bytes: int
    """Memory for all batches of tiles that existed at once."""
    seconds: Mapping[str, float]
    """Open, segment, read, wait (readers for room, not in read), encode and write; of all threads together."""
    devices: tuple[DeviceReport, ...]
    slides: tuple[Mapping[str, Any], ...]
    """State of each slide with each encoder."""

    def to_json(self) -> dict[str, Any]:
        """A JSON document.

        Returns:
            The fields by name; times and rates rounded.
        """
        return {key: _rounded(value) for key, value in dataclasses.asdict(self).items()}


def device_report(device: Device, lanes: Sequence[Lane]) -> DeviceReport:
    """What one device did.

    Args:
        device: The device.
        lanes: Its lanes.

    Returns:
        The report.
    """
    meters = [lane.meter for lane in lanes]
    share, longest = idle(meters)
    return DeviceReport(
        name=device.name,
        lanes=len(lanes),
        idle_share=share,
        longest_gap_s=longest,
        busy_s=sum(meter.busy for meter in meters),
        batch=min(lane.size for lane in lanes),
        batches=sum(meter.batches for meter in meters),
        oom_halvings=sum(lane.halvings for lane in lanes),
    )


def fed_rate(lanes: Sequence[Lane]) -> float | None:
    """Tiles a second after the first batch.

    Args:
        lanes: Of all devices.

    Returns:
        The sum over lanes; None where none had two batches.
    """
    meters = [lane.meter for lane in lanes if lane.meter.batches > 1]
    spans = [meter.last_end - meter.first_end for meter in meters]
    rates = [
        meter.tiles * (1 - 1 / meter.batches) / span for meter, span in zip(meters, spans, strict=True) if span > 0
    ]
    return sum(rates) if rates else None


def achieved(lanes: Sequence[Lane], work: Mapping[str, int | None]) -> float | None:
    """Operations a second after the first batch.

    Args:
        lanes: Of all devices.
        work: Operations for a tile, by encoder.

    Returns:
        The rate; None where nothing can be said of it, or of an encoder that ran.
    """
    rate, tiles = fed_rate(lanes), sum((lane.encoded for lane in lanes), Counter[str]())
    known = {key: each for key in tiles if (each := work[key]) is not None}
    if rate is None or len(known) < len(tiles):
        return None
    return rate * sum(known[key] * count for key, count in tiles.items()) / tiles.total()


def flops(encoders: Sequence[Encoder]) -> dict[str, int | None]:
    """Operations for a tile, by encoder.

    Args:
        encoders: The encoders.

    Returns:
        Key -> operations.
    """
    return {
        encoder.spec.key: encoder.flops_per_tile() if isinstance(encoder, Counted) else None for encoder in encoders
    }


def _rounded(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, float):
        return round(value, 5)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value
