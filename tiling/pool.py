"""Where work runs. A pool maps a function over items and gives the results in order; it knows nothing of slides."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Generic, Protocol, Self, TypeVar, cast, runtime_checkable

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Needs:
    """What a worker must have to take a task."""

    gpus: int = 0
    """Of the worker's `GPU` resource; 0 for what runs on any worker. Tilers need none, encoders may."""

    @property
    def resources(self) -> dict[str, float]:
        """The same in the words of Dask; empty where nothing is needed."""
        return {"GPU": self.gpus} if self.gpus else {}


ANYWHERE: Final = Needs()


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Result]):
    """What became of one item: a value, or the error instead of it."""

    value: Result | None = None
    error: Exception | None = None
    """The function's own error, `WorkerKilledError`, or `PoolError` where the workers are gone."""

    def get(self) -> Result:
        """The value.

        Returns:
            What the function returned; what it raised instead is raised here.
        """
        if self.error is not None:
            raise self.error
        return cast("Result", self.value)


@dataclass(slots=True)
class Ticket(Generic[Item, Result]):
    """An item on its way."""

    item: Item
    future: Any = None
    """The pool's own; None once it is settled or suspect."""
    outcome: Outcome[Result] | None = None


@runtime_checkable
class Pool(Protocol):
    """Workers of any kind. Items and results must be small: addresses, frozen dataclasses, counts; never pixels."""

    @abstractmethod
    def outcomes(
        self, function: Callable[[Item], Result], items: Iterable[Item], needs: Needs = ANYWHERE
    ) -> Iterator[Outcome[Result]]:
        """Apply a module-level function to each item; a failing item never stops the others.

        Args:
            function: A function that other processes can import; it may run more than once for an item.
            items: Its arguments, one a call; taken only as workers get free.
            needs: What a worker must have.

        Returns:
            One outcome an item, in the order of the items, with a bounded number under way.
        """

    def map(
        self, function: Callable[[Item], Result], items: Iterable[Item], needs: Needs = ANYWHERE
    ) -> Iterator[Result]:
        """Apply a module-level function to each item; the first error is raised and ends it.

        Args:
            function: A function that other processes can import.
            items: Its arguments, one a call.
            needs: What a worker must have.

        Yields:
            The results in the order of the items, with a bounded number under way.
        """
        for outcome in self.outcomes(function, items, needs):
            yield outcome.get()

    def __enter__(self) -> Self:
        """Use the pool in a with statement."""
        return self

    @abstractmethod
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the workers go."""


class LocalPool(Pool):
    """Threads of this process: decoders and arithmetic release the interpreter lock.

    Args:
        threads: How many, or None for one a core.
    """

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads or len(os.sched_getaffinity(0))
        self._executor = ThreadPoolExecutor(self.threads, thread_name_prefix="oncoscope")

    def outcomes(
        self, function: Callable[[Item], Result], items: Iterable[Item], needs: Needs = ANYWHERE
    ) -> Iterator[Outcome[Result]]:
        """Apply a function to each item; a failing item never stops the others.

        Args:
            function: What to apply.
            items: Its arguments, one a call.
            needs: Not looked at: this process has what this machine has.

        Yields:
            One outcome an item, in order; at most two calls a thread are under way or waiting to be taken.
        """
        del needs
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(self._executor.submit(function, item))
                if len(waiting) > 2 * self.threads:
                    yield _outcome(waiting.popleft())
            while waiting:
                yield _outcome(waiting.popleft())
        finally:
            for future in waiting:
                future.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for what is under way and let the threads go."""
        self._executor.shutdown(cancel_futures=True)


def _outcome(future: Future[Result]) -> Outcome[Result]:
    try:
        return Outcome(value=future.result())
    except Exception as error:  # noqa: BLE001 - whatever the function raises is the outcome of its item
        return Outcome(error=error)
