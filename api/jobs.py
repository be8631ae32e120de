"""The job table: the truth about what was asked for and how far it is.

A worker claims a job for the length of a lease and prolongs it by heartbeats. Each claim hands out a new token
(fencing): every later write names the token, so a worker that was thought dead and comes back cannot touch a job that
another one holds: its writes are a `LeaseLostError`.

::

    queued ──claim──> running ──finish──> succeeded | not_evaluable | failed
      │ ^                │ └── lease ends: claimed again, or failed after `max_attempts`
      │ └───release──────┤
      └────cancel────────┴──> canceled
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from api.database import Database, jobs, now
from api.errors import ConflictError, KeyReusedError, LeaseLostError, NotFoundError, WorkerLostError, problem_of

Request = dict[str, Any]
State = Literal["queued", "running", "succeeded", "not_evaluable", "failed", "canceled"]
ACTIVE: Final = ("queued", "running")
GIVEN_UP: Final = problem_of(
    WorkerLostError("the job was given up: every worker that tried it stopped unexpectedly, so it may be the slide")
)


@dataclass(frozen=True, slots=True)
class Job:
    """One row of the job table; times in seconds since 1970 UTC."""

    seq: int
    id: str
    kind: str
    request: Request
    state: State
    token: int
    attempts: int
    created: float
    started: float | None
    finished: float | None
    result: str | None
    """Name of the result's folder, set together with the final state."""
    summary: dict[str, Any] | None
    problem: dict[str, Any] | None
    progress: dict[str, Any] | None
    """How far the latest attempt is, or was when it ended."""


COLUMNS: Final = tuple(jobs.c[name] for name in Job.__slots__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended."""

    state: Literal["succeeded", "not_evaluable", "failed"]
    result: str | None = None
    summary: dict[str, Any] | None = None
    problem: dict[str, Any] | None = None


class JobStore:
    """All reads and writes of the job table.

    Args:
        database: The database.
        lease_seconds: How long a claim lasts without a heartbeat.
        max_attempts: How many workers a job may take down before it is given up.
    """

    def __init__(self, database: Database, lease_seconds: float, max_attempts: int) -> None:
        """Keep the rules of the queue."""
        self.database = database
        self.lease_seconds = lease_seconds
        self.max_attempts = max_attempts

    def submit(self, kind: str, request: Request, key: str | None = None) -> tuple[Job, bool]:
        """Put a job into the queue; it is durable when this returns.

        Args:
            kind: Which work it is.
            request: What is asked for, as JSON.
            key: The client's idempotency key: the same key and request give the same job, however often they are sent.

        Returns:
            The job, and whether it is new.

        Raises:
            KeyReusedError: If the key came with another request before.
        """
        digest = hashlib.sha256(json.dumps([kind, request], sort_keys=True).encode()).hexdigest()
        try:
            with self.database.write() as connection:
                earlier = None if key is None else _one(connection, jobs.c.idempotency_key == key)
                if earlier is None:
                    return self._insert(connection, kind, request, key=key, digest=digest), True
                known = connection.scalar(select(jobs.c.request_digest).where(jobs.c.id == earlier.id))
        except IntegrityError:  # PostgreSQL: the same key arrived twice at the same moment, and the other one is in
            return self.submit(kind, request, key)
        if known != digest:
            msg = "this Idempotency-Key was used for another request; use a new key"
            raise KeyReusedError(msg)
        return earlier, False

    def get(self, identity: str) -> Job:
        """Read one job.

        Args:
            identity: The job's id.

        Returns:
            The job.

        Raises:
            NotFoundError: If there is none.
        """
        with self.database.read() as connection:
            job = _one(connection, jobs.c.id == identity)
        if job is None:
            msg = "there is no job with this id"
            raise NotFoundError(msg)
        return job

    def page(self, limit: int, before: int | None = None, state: State | None = None) -> Sequence[Job]:
        """Jobs, the newest first.

        Args:
            limit: At most so many.
            before: Only jobs older than the one with this sequence number.
            state: Only jobs in this state.

        Returns:
            The jobs.
        """
        query = select(*COLUMNS).order_by(jobs.c.seq.desc()).limit(limit)
        if before is not None:
            query = query.where(jobs.c.seq < before)
        if state is not None:
            query = query.where(jobs.c.state == state)
        with self.database.read() as connection:
            return [_job(row) for row in connection.execute(query).mappings()]

    def counts(self) -> dict[str, int]:
        """How many jobs are queued and running.

        Returns:
            State to number.
        """
        query = select(jobs.c.state, func.count()).where(jobs.c.state.in_(ACTIVE)).group_by(jobs.c.state)
        with self.database.read() as connection:
            return dict.fromkeys(ACTIVE, 0) | {row[0]: row[1] for row in connection.execute(query)}

    def claim(self) -> Job | None:
        """Take the oldest job that is due, and give up jobs that were tried too often.

        Returns:
            The job with its new token, or None when there is nothing to do.
        """
        due = and_(jobs.c.state.in_(ACTIVE), jobs.c.due <= now())
        with self.database.write() as connection:
            connection.execute(
                update(jobs)
                .where(due, jobs.c.attempts >= self.max_attempts)
                .values(state="failed", problem=GIVEN_UP, finished=now())
            )
            oldest = select(jobs.c.seq).where(due).order_by(jobs.c.seq).limit(1).with_for_update(skip_locked=True)
            claimed = (
                update(jobs)
                .where(jobs.c.seq == oldest.scalar_subquery())
                .values(
                    state="running",
                    token=jobs.c.token + 1,
                    attempts=jobs.c.attempts + 1,
                    started=func.coalesce(jobs.c.started, now()),
                    due=now() + self.lease_seconds,
                    progress=None,
                )
                .returning(*COLUMNS)
            )
            row = connection.execute(claimed).mappings().one_or_none()
        return None if row is None else _job(row)

    def heartbeat(self, job: Job) -> None:
        """Prolong the lease.

        Args:
            job: The job as it was claimed.
        """
        self._write_as_holder(job, due=now() + self.lease_seconds)

    def report(self, job: Job, progress: dict[str, Any]) -> None:
        """Say how far a job is.

        Args:
            job: The job as it was claimed.
            progress: What clients are told: numbers, as JSON.
        """
        self._write_as_holder(job, progress=progress)

    def finish(self, job: Job, outcome: Outcome) -> None:
        """Write the end of a job.

        Args:
            job: The job as it was claimed.
            outcome: How it ended.
        """
        self._write_as_holder(job, **asdict(outcome), finished=now())

    def release(self, job: Job, *, blame: bool, delay: float = 0.0) -> None:
        """Give a job back to the queue.

        Args:
            job: The job as it was claimed.
            blame: Whether the attempt counts against the job; False when only the worker was stopped.
            delay: Seconds before it may be claimed again.
        """
        self._write_as_holder(
            job, state="queued", due=now() + delay, attempts=jobs.c.attempts if blame else jobs.c.attempts - 1
        )

    def cancel(self, identity: str) -> Job:
        """Cancel a job that has not ended; its worker stops at its next heartbeat. Again for a canceled one: no change.

        Args:
            identity: The job's id.

        Returns:
            The canceled job.

        Raises:
            ConflictError: If it has ended.
        """
        with self.database.write() as connection:
            connection.execute(
                update(jobs)
                .where(jobs.c.id == identity, jobs.c.state.in_(ACTIVE))
                .values(state="canceled", finished=now())
            )
        job = self.get(identity)
        if job.state != "canceled":
            msg = f"the job has ended ({job.state}) and cannot be canceled"
            raise ConflictError(msg)
        return job

    def _insert(self, connection: Connection, kind: str, request: Request, *, key: str | None, digest: str) -> Job:
        """Add a row and read it back, so that the caller sees what is stored."""
        values = {
            "id": f"job-{secrets.token_hex(12)}",
            "kind": kind,
            "request": request,
            "state": "queued",
            "due": now(),
            "token": 0,
            "attempts": 0,
            "created": now(),
            "idempotency_key": key,
            "request_digest": digest,
        }
        return _job(connection.execute(insert(jobs).values(values).returning(*COLUMNS)).mappings().one())

    def _write_as_holder(self, job: Job, **values: object) -> None:
        """Update the job if, and only if, this claim of it is still the valid one.

        Raises:
            LeaseLostError: If the job was canceled or another worker holds it.
        """
        holder = and_(jobs.c.id == job.id, jobs.c.token == job.token, jobs.c.state == "running")
        with self.database.write() as connection:
            changed = connection.execute(update(jobs).where(holder).values(values)).rowcount
        if changed != 1:
            msg = "the job was canceled or another worker holds it"
            raise LeaseLostError(msg)


def _one(connection: Connection, where: ColumnElement[bool]) -> Job | None:
    """The one job that fits, if any."""
    row = connection.execute(select(*COLUMNS).where(where)).mappings().one_or_none()
    return None if row is None else _job(row)


def _job(row: RowMapping) -> Job:
    """A row as a job."""
    return Job(**row)
