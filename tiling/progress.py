"""How far the work is: one small event for a terminal, a log and the service alike."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Final

SMOOTHING_SECONDS: Final = 30.0
"""The rate is an average over about this long, or over a third of the run where that is longer: slides that are
finished minutes apart must not make it jump."""
STEP_SECONDS: Final = 0.25
"""Calls closer to each other are taken together."""


@dataclass(frozen=True, slots=True)
class Event:
    """How far the work is at one moment."""

    slides_done: int
    """Slides that are settled, whatever became of them."""
    slides: int
    tiles_done: int
    tiles: int
    """As far as slides were looked at; those that were not add to it later."""
    seconds: float
    """Since the work began."""
    tiles_per_s: float | None = None
    """Of late, smoothed; None before anything was done."""
    eta_s: float | None = None
    """Seconds that are left at this rate; slides not looked at count as the mean of the others. None while unknown."""

    @property
    def share(self) -> float:
        """How much is done, 0 to 1: of the tiles where there is one slide, else of the slides."""
        done, total = (self.tiles_done, self.tiles) if self.slides == 1 else (self.slides_done, self.slides)
        return done / total if total else 0.0

    def to_json(self) -> dict[str, float | int | None]:
        """A JSON document.

        Returns:
            The fields by their names; seconds and rates rounded.
        """
        return {key: round(value, 2) if isinstance(value, float) else value for key, value in asdict(self).items()}


class Progress:
    """Counts slides and tiles and tells a listener; may be called from several threads.

    Args:
        listener: Called with an event whenever something is done.
        slides: How many slides there are.
        clock: Seconds, for tests.
    """

    def __init__(
        self, listener: Callable[[Event], None], slides: int = 1, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._listener, self._slides, self._clock = listener, slides, clock
        self._lock = threading.RLock()
        self._begin = self._last = clock()
        self._slides_done = self._planned = self._tiles_done = self._tiles = self._fresh = 0
        self._rate: float | None = None

    def slide(self) -> Callable[[int, int], None]:
        """Follow one slide tile by tile.

        Returns:
            What is to be called with tiles done and tiles in all of that slide, as `tile(..., progress=)` does.
        """
        before = (0, 0)

        def tell(done: int, total: int) -> None:
            nonlocal before
            with self._lock:
                self._add(done - before[0], total - before[1], planned=not before[1])
                self._slides_done += done == total != before[0]
                before = (done, total)
                self._tell()

        return tell

    def settle(self, slides_done: int, tiles: int = 0) -> None:
        """Say that slides are settled, of which the tiles were not followed.

        Args:
            slides_done: How many in all.
            tiles: How many tiles were worked on for those that are new.
        """
        with self._lock:
            self._slides_done = slides_done
            self._add(tiles, tiles, planned=tiles > 0)
            self._tell()

    def _add(self, done: int, total: int, *, planned: bool) -> None:
        self._tiles_done += done
        self._fresh += done
        self._tiles += total
        self._planned += planned

    def _tell(self) -> None:
        now = self._clock()
        self._smooth(now)
        left = self._left()
        self._listener(
            Event(
                self._slides_done,
                self._slides,
                self._tiles_done,
                self._tiles,
                now - self._begin,
                self._rate,
                left / self._rate if self._rate and left is not None else None,
            )
        )

    def _smooth(self, now: float) -> None:
        """Take the tiles since the last step into the rate, by the time they took."""
        step = now - self._last
        if not self._fresh or step < STEP_SECONDS:
            return
        window = max(SMOOTHING_SECONDS, (now - self._begin) / 3)
        weight = 1.0 if self._rate is None else 1 - math.exp(-step / window)
        self._rate = (self._rate or 0.0) * (1 - weight) + weight * self._fresh / step
        self._fresh, self._last = 0, now

    def _left(self) -> float | None:
        """Tiles that are left, with a guess for slides of which nothing is known; None without any to guess from."""
        if not self._planned:
            return None
        unknown = max(0, self._slides - max(self._planned, self._slides_done))
        return self._tiles - self._tiles_done + unknown * self._tiles / self._planned
