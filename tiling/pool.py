"""Where work runs. A pool maps a function over items and gives the results in order; it knows nothing of slides."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

Item = TypeVar("Item")
Result = TypeVar("Result")


class Pool(Protocol):
    """Workers of any kind. Items and results must be small: addresses, frozen dataclasses, counts; never pixels."""

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Apply a module-level function to each item, results in order, with a bounded number under way.

        Args:
            function: A function that other processes can import.
            items: Its arguments, one a call.

        Returns:
            The results in the order of the items.
        """

    def __enter__(self) -> Self:
        """Start the workers."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the workers go."""


class LocalPool:
    """Threads of this process: decoders and arithmetic release the interpreter lock.

    Args:
        threads: How many, or None for one a core.
    """

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads or len(os.sched_getaffinity(0))
        self._executor = ThreadPoolExecutor(self.threads, thread_name_prefix="oncoscope")

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Apply a function to each item, results in order.

        Args:
            function: What to apply.
            items: Its arguments, one a call.

        Yields:
            The results in the order of the items; at most two calls a thread are under way or waiting to be taken.
        """
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(self._executor.submit(function, item))
                if len(waiting) > 2 * self.threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def __enter__(self) -> Self:
        """Use the pool in a with statement."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for what is under way and let the threads go."""
        self._executor.shutdown(cancel_futures=True)
