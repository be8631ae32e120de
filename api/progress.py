"""How far a job is, from the events of the work to the job table: numbers alone, and seldom enough for any database."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, Literal

from api.errors import DatabaseError, LeaseLostError
from api.jobs import Job, JobStore
from tiling import Event, Progress

Stage = Literal["tiling", "embedding", "scoring"]
WRITE_SECONDS: Final = 1.0
"""Least time between two writes. Clients poll no more often than that."""
PATIENCE: Final = 10
"""A write that took long is followed by at least so many times its length without one: a busy database comes first."""


class JobProgress:
    """Writes how far a job is, at most once a second.

    A write that fails is left out: the lease and the database are the heartbeat's affair, and the next event has all.

    Args:
        jobs: The job table.
        job: The job as it was claimed.
        clock: Seconds, for tests.
    """

    def __init__(self, jobs: JobStore, job: Job, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._jobs, self._job, self._clock = jobs, job, clock
        self._due = clock()
        self._waiting: dict[str, Any] | None = None
        self._tiling, self._embedding = self._follow("tiling"), self._follow("embedding")

    def tiling(self, done: int, total: int) -> None:
        """Tiles of the job's slide are cut.

        Args:
            done: How many.
            total: Of how many.
        """
        self._tiling(done, total)
        if done == total:
            self._embedding = self._follow("embedding")  # whose rate counts from here

    def embedding(self, done: int, total: int) -> None:
        """Tiles of the job's slide are embedded.

        Args:
            done: How many.
            total: Of how many.
        """
        self._embedding(done, total)

    def scoring(self, event: Event) -> None:
        """Slides of the job are settled.

        Args:
            event: How many, with their tiles.
        """
        self._tell("scoring", event)

    def flush(self) -> None:
        """Write what was too soon to be written."""
        if self._waiting is None:
            return
        begin, progress, self._waiting = self._clock(), self._waiting, None
        with suppress(DatabaseError, LeaseLostError):
            self._jobs.report(self._job, progress)
        end = self._clock()
        self._due = end + max(WRITE_SECONDS, PATIENCE * (end - begin))

    def _follow(self, stage: Stage) -> Callable[[int, int], None]:
        return Progress(partial(self._tell, stage), clock=self._clock).slide()

    def _tell(self, stage: Stage, event: Event) -> None:
        self._waiting = {"stage": stage, **event.to_json()}
        if self._clock() >= self._due:
            self.flush()
