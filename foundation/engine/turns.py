"""Whose tiles are cut: slides share the readers and come one after the other, the next one without a gap."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Self

from tiling.pool import ANYWHERE, Item, LocalPool, Needs, Outcome, Pool, Result


class Turn:
    """The right to hand out work; a slide leaves it as soon as its last piece is handed out.

    Were slides cut side by side, they would end together, and nothing would be left to read while the next are opened.

    Args:
        lock: One for all slides of a run.
    """

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self._held = False

    def leave(self) -> None:
        """Let the next one begin; may be called again."""
        if self._held:
            self._held = False
            self._lock.release()

    def __enter__(self) -> Self:
        """Wait for the turn."""
        self._lock.acquire()
        self._held = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave it at the latest now."""
        self.leave()


class TurnPool(Pool):
    """The readers of a run, as the tiling of one slide sees them.

    Args:
        shared: The readers.
        turn: This slide's.
        planned: Called when the slide's plan is made and its bands could go out.
        read: Told how many seconds a band took.
    """

    def __init__(
        self, shared: LocalPool, turn: Turn, planned: Callable[[], None], read: Callable[[float], None]
    ) -> None:
        self._shared, self._turn, self._planned, self._read = shared, turn, planned, read

    def outcomes(
        self, function: Callable[[Item], Result], items: Iterable[Item], needs: Needs = ANYWHERE
    ) -> Iterator[Outcome[Result]]:
        """Apply a function to each item when it is this slide's turn.

        Args:
            function: What to apply.
            items: Its arguments.
            needs: Not looked at.

        Yields:
            One outcome an item, in order.
        """

        def timed(item: Item) -> Result:
            begin = time.perf_counter()
            try:
                return function(item)
            finally:
                self._read(time.perf_counter() - begin)

        def handed_out() -> Iterator[Item]:
            yield from items
            self._turn.leave()

        self._planned()
        with self._turn:
            yield from self._shared.outcomes(timed, handed_out(), needs)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing: the readers belong to the run."""
