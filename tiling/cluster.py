"""The only module that knows Dask: a pool on a cluster of this machine or on a scheduler given by address.

Dask blames a task for the death of a worker on which it was merely waiting. So here a blamed task is only suspect: all
that is under way is waited for, and the suspect runs alone. What dies alone, dies of itself.
"""

from __future__ import annotations

import ssl
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Generic, cast

import dask
from distributed import Client, LocalCluster, Security
from distributed import wait as wait_for
from distributed.client import ClosedClientError, FutureCancelledError
from distributed.comm.core import CommClosedError
from distributed.scheduler import KilledWorker

from tiling.certificates import CLIENT, SCHEDULER, WORKER, certificate_files
from tiling.cluster_rules import RULES
from tiling.errors import PoolError, WorkerKilledError
from tiling.pool import ANYWHERE, Item, Needs, Outcome, Pool, Result, Ticket

IN_FLIGHT_PER_THREAD: Final = 2
"""Tasks handed out ahead: one running, one waiting, so that no worker is idle and memory stays bounded."""
CONNECT_SECONDS: Final = 15
DEATHS_ALONE: Final = 2
"""Workers that a task may kill while it runs alone: one may have died of something else, such as a lost machine."""
LOOK_SECONDS: Final = 5.0
"""How often it is looked whether there are workers at all."""
PATIENCE_SECONDS: Final = 300.0
"""How long a task waits while no worker can take it: a machine starts in less."""
GONE: Final = "the Dask scheduler is gone; what was not done yet was given up"
LOST: Final = (ClosedClientError, FutureCancelledError, CommClosedError, OSError)
"""What the client raises where the scheduler is gone."""


class DaskPool(Pool):
    """Workers of a Dask cluster; they need this package and the same file system, nothing else.

    Args:
        scheduler: Address such as `tls://host:8786`, or None for worker processes on this machine.
        workers: How many processes where `scheduler` is None.
        certs: Folder made by `oncoscope cluster certs`; needed for `tls://`.
        memory: Most that one worker process of this machine may take, in bytes or as `4GiB`; one that takes more is
            ended and its task treated as one that kills workers. `auto` shares out the machine's memory by cores.

    Raises:
        PoolError: If no scheduler answers, or the certificates do not fit the address.
    """

    patience: float = PATIENCE_SECONDS
    """Seconds that tasks wait while no worker can take them."""

    def __init__(
        self, scheduler: str | None = None, workers: int = 2, *, certs: Path | None = None, memory: str | int = "auto"
    ) -> None:
        self._cluster: Any = None
        self._workers = workers
        if scheduler is None:
            with own_rules():
                # Loopback only, without the dashboard: whoever reaches a Dask port runs code.
                self._cluster = LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    memory_limit=memory,
                    host="127.0.0.1",
                    dashboard_address=None,
                    scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},  # a page on health stays; on any free port
                    silence_logs=50,
                )
        elif scheduler.startswith("tls://") != (certs is not None):
            msg = "a scheduler at a tls:// address and a folder of certificates belong together: give both or neither"
            raise PoolError(msg)
        self._connect(scheduler, security_of(certs))

    def _connect(self, scheduler: str | None, security: Security | None) -> None:
        """Find the scheduler.

        Raises:
            PoolError: If none answers.
        """
        try:
            self._client = Client(self._cluster or scheduler, timeout=CONNECT_SECONDS, security=security)
        except (OSError, TimeoutError, ValueError) as error:
            self._close_cluster()
            msg = "no Dask scheduler answers at the given address, or it does not know our certificate"
            raise PoolError(msg) from error

    def outcomes(
        self, function: Callable[[Item], Result], items: Iterable[Item], needs: Needs = ANYWHERE
    ) -> Iterator[Outcome[Result]]:
        """Apply a module-level function to each item on the workers; a failing item never stops the others.

        Args:
            function: A function that the workers can import; it runs again where a worker died on it.
            items: Its arguments, one a call; small ones. They are taken as workers get free.
            needs: What a worker must have.

        Yields:
            One outcome an item, in order. A task that kills its worker when it runs alone has a `WorkerKilledError`;
            what is left when the scheduler is gone, or no worker comes, has a `PoolError`.
        """
        run = _Run(self._client, function, needs, (self.patience, self._revive))
        waiting: deque[Ticket[Item, Result]] = deque()
        try:
            for item in items:
                waiting.append(run.submit(item))
                if len(waiting) > run.limit():
                    yield run.settle(waiting)
            while waiting:
                yield run.settle(waiting)
        finally:
            with suppress(*LOST):
                self._client.cancel([ticket.future for ticket in waiting if ticket.future is not None])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect; a cluster of our own ends."""
        self._client.close()
        self._close_cluster()

    def _revive(self) -> None:
        """Start workers of our own that Dask has written off: it does so when one is not back within 15 s."""
        if self._cluster is not None:
            self._cluster.scale(self._workers)

    def _close_cluster(self) -> None:
        if self._cluster is not None:
            self._cluster.close()


def own_rules() -> AbstractContextManager[object]:
    """Give our rules to the clusters that are made within.

    Returns:
        What a with statement takes.
    """
    return cast("AbstractContextManager[object]", dask.config.set(RULES))


def workers_of(client: Client) -> list[dict[str, Any]]:
    """What the scheduler knows of its workers.

    Args:
        client: Connected to it.

    Returns:
        One document a worker, of all of them: without a number, releases of Dask before 2026.7 tell of five.
    """
    return list(client.scheduler_info(n_workers=-1).get("workers", {}).values())


def security_of(certs: Path | None) -> Security | None:
    """What Dask needs to know of a folder of certificates.

    Args:
        certs: The folder, or None for connections in the clear.

    Returns:
        Encryption with both sides known to one authority, nothing else accepted; None without a folder. Each role has
        its own certificate; a machine that only calls a scheduler needs the client's alone.
    """
    if certs is None:
        return None
    authority = certificate_files(certs, CLIENT)[0]
    shown = {
        f"tls_{role}_{what}": str(certs / f"{role}{suffix}.pem")
        for role in (SCHEDULER, WORKER, CLIENT)
        for what, suffix in (("cert", ""), ("key", "-key"))
        if (certs / f"{role}-key.pem").is_file()
    }
    least = ssl.TLSVersion.TLSv1_3
    return Security(require_encryption=True, tls_ca_file=str(authority), tls_min_version=least, **shown)


class _Run(Generic[Item, Result]):
    """One function over many items."""

    def __init__(
        self,
        client: Client,
        function: Callable[[Item], Result],
        needs: Needs,
        lost_workers: tuple[float, Callable[[], None]],
    ) -> None:
        self._client, self._function, self._needs = client, function, needs
        self._patience, self._revive = lost_workers
        self._lost = None if client.status == "running" else PoolError(GONE)
        self._limit, self._looked = 0, 0.0

    def limit(self) -> int:
        """How many items may be under way; workers come and go."""
        now = time.monotonic()
        if self._lost is None and (not self._limit or now - self._looked > LOOK_SECONDS):
            self._looked = now
            self._revive()
            self._limit = IN_FLIGHT_PER_THREAD * max(1, sum(self._threads()))
        return self._limit

    def _threads(self) -> list[int]:
        """Threads of each worker that can take a task of this run."""
        try:
            known = workers_of(self._client)
        except LOST:
            return []
        wanted = self._needs.resources.items()
        return [w["nthreads"] for w in known if all(w["resources"].get(name, 0) >= count for name, count in wanted)]

    def submit(self, item: Item) -> Ticket[Item, Result]:
        """Hand out one item."""
        ticket: Ticket[Item, Result] = Ticket(item)
        self._send(ticket)
        return ticket

    def _send(self, ticket: Ticket[Item, Result]) -> None:
        if self._lost is None:
            try:
                ticket.future = self._client.submit(
                    self._function, ticket.item, pure=False, resources=self._needs.resources or None
                )
            except LOST as error:
                self._give_up(GONE, error)
        if self._lost is not None:
            ticket.outcome = Outcome(error=self._lost)

    def settle(self, waiting: deque[Ticket[Item, Result]]) -> Outcome[Result]:
        """The outcome of the first in line; if it is suspect, of all suspects, each alone."""
        head = waiting.popleft()
        self._await(head)
        if head.outcome is None:
            for ticket in waiting:
                self._await(ticket)
            for ticket in (head, *waiting):
                self._try_alone(ticket)
        return head.outcome or Outcome(error=PoolError(GONE))

    def _await(self, ticket: Ticket[Item, Result]) -> int:
        """Wait for a task; it has an outcome then, or is suspect.

        Returns:
            How many workers died on it.
        """
        if ticket.future is None:
            return 0
        try:
            done = self._watch(ticket.future)
            ticket.outcome = Outcome(value=ticket.future.result()) if done else Outcome(error=self._lost)
        except KilledWorker as error:
            return error.allowed_failures + 1
        except (ClosedClientError, FutureCancelledError, CommClosedError) as error:
            ticket.outcome = Outcome(error=self._give_up(GONE, error))
        except Exception as error:  # noqa: BLE001 - whatever the function raises is the outcome of its item
            ticket.outcome = Outcome(error=error)
        finally:
            ticket.future.release()  # the scheduler forgets it, though the traceback of an error still holds the future
            ticket.future = None
        return 0

    def _watch(self, future: Any) -> bool:  # noqa: ANN401 - Dask has no types
        """Wait until a task is done; it is not where the run is lost because no worker came for too long."""
        seen = time.monotonic()
        while self._lost is None and not future.done():
            try:
                wait_for(future, timeout=LOOK_SECONDS)
            except TimeoutError:
                self._revive()
                if self._threads():
                    seen = time.monotonic()
                elif time.monotonic() - seen > self._patience:
                    self._give_up("no worker came that can take the task; what was not done yet was given up", None)
        return bool(future.done())

    def _try_alone(self, ticket: Ticket[Item, Result]) -> None:
        """Run a suspect while nothing else is under way."""
        deaths = 0
        while ticket.outcome is None and deaths < DEATHS_ALONE:
            self._send(ticket)
            deaths += self._await(ticket)
        if ticket.outcome is None:
            msg = "a worker process ended each time it worked on this, also when it did nothing else; it was given up"
            ticket.outcome = Outcome(error=WorkerKilledError(msg))

    def _give_up(self, message: str, cause: BaseException | None) -> PoolError:
        """From here on, every item has this error."""
        if self._lost is None:
            self._lost = PoolError(message)
            self._lost.__cause__ = cause
        return self._lost
