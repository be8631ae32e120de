"""The only module that knows Dask: a pool on a cluster of this machine or on a scheduler given by address."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Self, TypeVar

import dask
from distributed import Client, LocalCluster
from distributed.client import FutureCancelledError
from distributed.comm.core import CommClosedError
from distributed.scheduler import KilledWorker

from tiling.errors import PoolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

Item = TypeVar("Item")
Result = TypeVar("Result")

IN_FLIGHT_PER_THREAD = 2
"""Tasks handed out ahead: one running, one waiting, so that no worker is idle and memory stays bounded."""
CONNECT_SECONDS = 15


class DaskPool:
    """Workers of a Dask cluster; they need this package and the same file system, nothing else.

    Args:
        scheduler: Address such as `tcp://host:8786`, or None for worker processes on this machine.
        workers: How many processes where `scheduler` is None.

    Raises:
        PoolError: If no scheduler answers.
    """

    def __init__(self, scheduler: str | None = None, workers: int = 2) -> None:
        self._cluster: Any = None
        with dask.config.set({"distributed.scheduler.allowed-failures": 3}):
            if scheduler is None:
                # Loopback only, without the dashboard: whoever reaches a Dask port runs code.
                self._cluster = LocalCluster(
                    n_workers=workers, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, silence_logs=50
                )
            try:
                self._client = Client(self._cluster or scheduler, timeout=CONNECT_SECONDS)
            except (OSError, TimeoutError, ValueError) as error:
                self._close_cluster()
                msg = "no Dask scheduler answers at the given address"
                raise PoolError(msg) from error

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Apply a module-level function to each item on the workers, results in order.

        Args:
            function: A function that the workers can import.
            items: Its arguments, one a call; small ones.

        Yields:
            The results in the order of the items.
        """
        limit = max(1, sum(self._client.nthreads().values())) * IN_FLIGHT_PER_THREAD
        waiting: deque[Any] = deque()
        try:
            for item in items:
                waiting.append(self._client.submit(function, item, pure=False))
                if len(waiting) > limit:
                    yield self._take(waiting.popleft())
            while waiting:
                yield self._take(waiting.popleft())
        finally:
            self._client.cancel(list(waiting))

    def _take(self, future: Any) -> Any:  # noqa: ANN401 - Dask has no types
        """The result of a task, its own typed error, or ours where the worker died.

        Raises:
            PoolError: If workers die too often on the task.
        """
        try:
            return future.result()
        except (KilledWorker, FutureCancelledError, CommClosedError) as error:
            msg = "the workers died each time on a task, or the scheduler is gone; the task was given up"
            raise PoolError(msg) from error

    def __enter__(self) -> Self:
        """Use the pool in a with statement."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect; a cluster of our own ends."""
        self._client.close()
        self._close_cluster()

    def _close_cluster(self) -> None:
        if self._cluster is not None:
            self._cluster.close()
