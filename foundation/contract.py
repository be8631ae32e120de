"""What an encoder may be fed: checked before any work, refused unless overridden, and then recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from foundation.errors import ContractError
from foundation.spec import EncoderSpec

_SAME_SCALE = 0.01
"""Scales that differ by less are one: readers round."""


@dataclass(frozen=True, slots=True)
class EmbedOptions:
    """How tiles are embedded."""

    batch: int | None = None
    """Tiles in a call; None for what suits the device. All batches of a run have this shape, for other shapes may take
    other kernels with other last bits: the very last one is filled up."""
    threads: int | None = None
    """On the CPU: batches encoded at once, each on one core; None for as many as there are cores. The bits do not
    depend on it."""
    override: bool = False
    """Embed at a scale or tile size that the encoder is not meant for; the store then says so."""
    device: str = "cpu"
    """`cpu`, `cuda` (all GPUs), `cuda:1` (that one), or `auto`: all GPUs, else the CPU. Numbers of a GPU have other
    last bits, so their stores have another name."""
    compile: bool = False
    """Let torch compile the network for the GPU: minutes at the start, faster afterwards."""
    readers: int | None = None
    """Threads that cut tiles; None for one a core."""
    ahead: int = 2
    """Slides that are opened and segmented while another is read."""
    queue: int = 8
    """Whole batches that may wait for the device: bounds memory, and bridges what readers stall."""

    def __post_init__(self) -> None:
        """Refuse numbers that make no run.

        Raises:
            ContractError: If a count is not positive.
        """
        counts = (self.batch, self.threads, self.readers, self.queue, self.ahead + 1)
        if any(count is not None and count < 1 for count in counts):
            raise ContractError("Tiles in a batch, threads, readers and batches that wait are positive numbers.")


def breaches_of_contract(spec: EncoderSpec, tiles: Mapping[float, int]) -> tuple[str, ...]:
    """What an encoder would be fed that it is not meant for.

    Args:
        spec: The encoder's.
        tiles: Scale in um/px -> side of its tiles in pixels.

    Returns:
        One sentence a breach; empty when all is well.

    Raises:
        ContractError: If no zoom is asked for.
    """
    if not tiles:
        raise ContractError("Embedding needs at least one zoom.")
    found = []
    for mpp, px in tiles.items():
        if spec.mpp and not any(abs(mpp / meant - 1) < _SAME_SCALE for meant in spec.mpp):
            meant_for = ", ".join(f"{meant:g}" for meant in spec.mpp)
            found.append(f"encoder {spec.key!r} is meant for {meant_for} um/px, not {mpp:g}")
        if px != spec.tile_px:
            found.append(f"encoder {spec.key!r} takes tiles of {spec.tile_px} px, not {px} (at {mpp:g} um/px)")
    return tuple(found)


def require_allowed(breaches: tuple[str, ...], options: EmbedOptions) -> None:
    """Refuse to break a contract that nobody allowed to break.

    Args:
        breaches: What `breaches_of_contract` found.
        options: Hold what the caller allows.

    Raises:
        ContractError: If there are any.
    """
    if breaches and not options.override:
        raise ContractError(f"Refused: {'; '.join(breaches)}. It can be overridden, and is then recorded.")
