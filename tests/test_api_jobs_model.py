"""Any order of events keeps the promises of the job table: a model of it, walked at random."""

from __future__ import annotations

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from sqlalchemy import update

from api.database import Database, jobs, now
from api.errors import LeaseLostError
from api.jobs import Job, JobStore, Outcome

LEASE = 30.0


def let_lease_end(store: JobStore, job: Job) -> None:
    with store.database.write() as connection:
        connection.execute(update(jobs).where(jobs.c.id == job.id).values(due=now() - 1))


class Queue(RuleBasedStateMachine):
    """Any order of submit, claim, end of lease, finish, release and cancel keeps the promises of the table."""

    known = Bundle("known")
    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.store = JobStore(Database("sqlite://"), LEASE, max_attempts=3)
        self.valid: dict[str, int] = {}
        self.ended: dict[str, str] = {}

    @rule(target=known)
    def submit(self) -> str:
        return self.store.submit("score", {})[0].id

    @rule(target=held)
    def claim(self) -> Job | None:
        job = self.store.claim()
        if job is not None:
            assert job.id not in self.ended
            assert job.id not in self.valid, "a held job was handed out again"
            self.valid[job.id] = job.token
        return job

    @rule(job=held)
    def lease_ends(self, job: Job | None) -> None:
        if job is not None and self.valid.get(job.id) == job.token:
            let_lease_end(self.store, job)
            del self.valid[job.id]
            if job.attempts >= 3:
                self.ended[job.id] = "failed"

    @rule(job=held, state=st.sampled_from(["succeeded", "not_evaluable", "failed"]))
    def finish(self, job: Job | None, state: str) -> None:
        if job is None:
            return
        if self._still_holds(job):
            self.store.finish(job, Outcome(state))  # type: ignore[arg-type]
            self.ended[job.id] = state
            self.valid.pop(job.id, None)
        else:
            with pytest.raises(LeaseLostError):
                self.store.finish(job, Outcome("succeeded"))

    @rule(job=consumes(held))
    def release(self, job: Job | None) -> None:
        if job is not None and self.valid.get(job.id) == job.token:
            self.store.release(job, blame=False)
            del self.valid[job.id]

    @rule(identity=known)
    def cancel(self, identity: str) -> None:
        if identity in self.ended and self.ended[identity] != "canceled":
            return
        self.store.cancel(identity)
        self.valid.pop(identity, None)
        self.ended[identity] = "canceled"

    @invariant()
    def ends_are_final(self) -> None:
        states = {job.id: job.state for job in self.store.page(200)}
        for identity, state in self.ended.items():
            assert states[identity] in {state, "running"} if state == "failed" else states[identity] == state

    def teardown(self) -> None:
        self.store.database.close()

    def _still_holds(self, job: Job) -> bool:
        """By the table itself: a lease that ended but was not handed out again is still this worker's."""
        row = self.store.get(job.id)
        return row.state == "running" and row.token == job.token


Queue.TestCase.settings = hypothesis_settings(max_examples=25, stateful_step_count=25, deadline=None)
TestQueue = Queue.TestCase
