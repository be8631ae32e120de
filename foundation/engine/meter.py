"""How busy a device was: sums only, so that a run of any length costs nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence


class Meter:
    """When one lane of a device was busy; times come in order."""

    def __init__(self) -> None:
        self.batches = self.tiles = 0
        self.busy = self.gaps = self.longest = 0.0
        self.first_end = self.last_end = math.nan

    def add(self, begin: float, end: float, tiles: int) -> None:
        """Note a batch.

        Args:
            begin: When the device began with it, in seconds.
            end: When it was done.
            tiles: How many tiles of slides it held.
        """
        if self.batches:
            gap = max(0.0, begin - self.last_end)
            self.gaps += gap
            self.longest = max(self.longest, gap)
        else:
            self.first_end = end
        self.batches += 1
        self.tiles += tiles
        self.busy += end - begin
        self.last_end = end


def idle(meters: Sequence[Meter]) -> tuple[float | None, float]:
    """What the lanes of a device waited, from the end of their first batch to the end of the device's last.

    Args:
        meters: Of its lanes.

    Returns:
        Share of that time, None where no lane had two batches; and the longest gap in seconds.
    """
    used = [meter for meter in meters if meter.batches]
    if not any(meter.batches > 1 for meter in used):
        return None, 0.0
    end = max(meter.last_end for meter in used)
    waited = sum(meter.gaps + end - meter.last_end for meter in used)
    span = sum(end - meter.first_end for meter in used)
    return waited / span if span else None, max(meter.longest for meter in used)
