"""The job table: each job once, a lease that ends, a token that fences, and nothing lost on the way."""

from __future__ import annotations

import multiprocessing
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from api.database import Database, jobs, now
from api.errors import BadRequestError, ConflictError, DatabaseError, KeyReusedError, LeaseLostError, NotFoundError
from api.jobs import Job, JobStore, Outcome
from api.routes.jobs import from_cursor, to_cursor

LEASE = 30.0
DONE = Outcome("succeeded", result="r", summary={"score": 0.5})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    database = Database(f"sqlite:///{tmp_path / 'jobs.db'}")
    yield JobStore(database, LEASE, max_attempts=3)
    database.close()


def let_lease_end(store: JobStore, job: Job) -> None:
    with store.database.write() as connection:
        connection.execute(update(jobs).where(jobs.c.id == job.id).values(due=now() - 1))


def claimed(store: JobStore) -> Job:
    job = store.claim()
    assert job is not None
    return job


def test_clock_is_utc_with_fractions(store: JobStore) -> None:
    with store.database.read() as connection:
        first = connection.scalar(select(now()))
    time.sleep(0.05)
    with store.database.read() as connection:
        second = connection.scalar(select(now()))
    assert first is not None
    assert second is not None
    assert abs(first - time.time()) < 1
    assert 0.02 < second - first < 1


def test_connections_are_durable_and_patient(store: JobStore) -> None:
    with store.database.read() as connection:
        found = [connection.scalar(text(f"PRAGMA {name}")) for name in ("journal_mode", "synchronous", "foreign_keys")]
        patience = connection.scalar(text("PRAGMA busy_timeout"))
    assert found == ["wal", 2, 1]
    assert patience == 10_000


def test_job_lives_from_queue_to_success(store: JobStore) -> None:
    job, new = store.submit("score", {"slide": "s"})
    assert new
    assert (job.state, job.token, job.attempts, job.request) == ("queued", 0, 0, {"slide": "s"})
    running = claimed(store)
    assert (running.id, running.state, running.token, running.attempts) == (job.id, "running", 1, 1)
    assert store.claim() is None
    store.finish(running, DONE)
    end = store.get(job.id)
    assert (end.state, end.result, end.summary) == ("succeeded", "r", {"score": 0.5})
    assert end.created <= (end.started or 0) <= (end.finished or 0)


def test_oldest_job_comes_first(store: JobStore) -> None:
    made = [store.submit("score", {"n": n})[0].id for n in range(5)]
    assert [claimed(store).id for _ in made] == made


def test_everything_survives_a_restart(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path / 'jobs.db'}"
    first = Database(address)
    job, _ = JobStore(first, LEASE, 3).submit("score", {"n": 1}, "key")
    first.close()
    second = Database(address)
    store = JobStore(second, LEASE, 3)
    assert store.get(job.id) == job
    assert store.submit("score", {"n": 1}, "key") == (job, False)
    second.close()


def test_late_commit_is_refused(store: JobStore) -> None:
    store.submit("score", {})
    zombie = claimed(store)
    let_lease_end(store, zombie)
    heir = claimed(store)
    assert (heir.id, heir.token, heir.attempts) == (zombie.id, 2, 2)
    with pytest.raises(LeaseLostError):
        store.finish(zombie, Outcome("succeeded", result="zombie"))
    with pytest.raises(LeaseLostError):
        store.heartbeat(zombie)
    with pytest.raises(LeaseLostError):
        store.release(zombie, blame=False)
    store.finish(heir, DONE)
    with pytest.raises(LeaseLostError):
        store.finish(zombie, Outcome("succeeded", result="zombie"))
    assert store.get(heir.id).result == "r"


def test_heartbeat_keeps_the_lease(store: JobStore) -> None:
    store.submit("score", {})
    job = claimed(store)
    let_lease_end(store, job)
    store.heartbeat(job)
    assert store.claim() is None


def test_job_is_given_up_after_three_lost_workers(store: JobStore) -> None:
    job, _ = store.submit("score", {})
    for attempt in (1, 2, 3):
        lost = claimed(store)
        assert lost.attempts == attempt
        let_lease_end(store, lost)
    assert store.claim() is None
    end = store.get(job.id)
    assert end.state == "failed"
    assert end.finished is not None
    assert end.problem is not None
    assert end.problem["code"] == "worker-lost"
    with pytest.raises(LeaseLostError):
        store.finish(lost, DONE)


def test_a_stopped_worker_is_not_held_against_the_job(store: JobStore) -> None:
    store.submit("score", {})
    for token in range(1, 6):
        job = claimed(store)
        assert (job.token, job.attempts) == (token, 1)
        store.release(job, blame=False)


def test_a_failed_try_is_held_against_the_job_and_waits(store: JobStore) -> None:
    store.submit("score", {})
    job = claimed(store)
    store.release(job, blame=True, delay=60)
    assert store.claim() is None
    let_lease_end(store, job)
    assert claimed(store).attempts == 2


def test_cancel(store: JobStore) -> None:
    queued, _ = store.submit("score", {})
    assert store.cancel(queued.id).state == "canceled"
    assert store.cancel(queued.id).state == "canceled"
    assert store.claim() is None
    store.submit("score", {})
    running = claimed(store)
    store.cancel(running.id)
    with pytest.raises(LeaseLostError):
        store.finish(running, DONE)
    with pytest.raises(LeaseLostError):
        store.heartbeat(running)
    assert store.get(running.id).state == "canceled"
    store.submit("score", {})
    done = claimed(store)
    store.finish(done, DONE)
    with pytest.raises(ConflictError):
        store.cancel(done.id)
    with pytest.raises(NotFoundError):
        store.cancel("job-nowhere")


def test_same_key_same_job(store: JobStore) -> None:
    first, new = store.submit("score", {"slide": "a", "biomarker": "b"}, "k")
    again, newer = store.submit("score", {"biomarker": "b", "slide": "a"}, "k")
    assert (again.id, new, newer) == (first.id, True, False)
    for other in (("score", {"slide": "c", "biomarker": "b"}), ("ask", {"slide": "a", "biomarker": "b"})):
        with pytest.raises(KeyReusedError):
            store.submit(*other, "k")
    assert store.counts() == {"queued": 1, "running": 0}


def test_pages_neither_skip_nor_repeat(store: JobStore) -> None:
    made = [store.submit("score", {"n": n})[0].id for n in range(7)]
    store.cancel(made[3])
    seen: list[str] = []
    before = None
    while page := store.page(3, before):
        seen += [job.id for job in page]
        before = page[-1].seq
        store.submit("score", {"late": len(seen)})
    assert seen == made[::-1]
    assert [job.id for job in store.page(10, state="canceled")] == [made[3]]


def test_unusable_database_is_one_plain_error(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError) as caught:
        Database(f"sqlite:///{tmp_path / 'absent' / 'secret-name' / 'jobs.db'}")
    assert "secret-name" not in str(caught.value)


def claim_all(address: str, start: float, found: multiprocessing.Queue[tuple[str, int]]) -> None:
    """Claims until nothing is left; what several processes do at the same time."""
    database = Database(address)
    store = JobStore(database, LEASE, 3)
    time.sleep(max(0.0, start - time.time()))
    while (job := store.claim()) is not None:
        found.put((job.id, job.token))
        store.finish(job, DONE)
    database.close()


def test_several_processes_take_each_job_once(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path / 'jobs.db'}"
    database = Database(address)
    store = JobStore(database, LEASE, 3)
    made = {store.submit("score", {"n": n})[0].id for n in range(60)}
    context = multiprocessing.get_context("spawn")
    found: multiprocessing.Queue[tuple[str, int]] = context.Queue()
    start = time.time() + 2.5
    workers = [context.Process(target=claim_all, args=(address, start, found)) for _ in range(3)]
    for worker in workers:
        worker.start()
    taken = [found.get(timeout=40) for _ in made]
    for worker in workers:
        worker.join(20)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert sorted(taken) == sorted((job, 1) for job in made)
    assert {job.state for job in store.page(100)} == {"succeeded"}
    database.close()


def test_a_writer_waits_for_another(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    database = Database(f"sqlite:///{path}")
    store = JobStore(database, LEASE, 3)
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    context = multiprocessing.get_context("spawn")
    found: multiprocessing.Queue[tuple[str, int]] = context.Queue()
    worker = context.Process(target=claim_all, args=(f"sqlite:///{path}", 0.0, found))
    worker.start()
    time.sleep(2)
    assert worker.is_alive()
    assert store.counts() == {"queued": 0, "running": 0}, "readers do not wait"
    other.execute("COMMIT")
    other.close()
    worker.join(15)
    assert worker.exitcode == 0
    database.close()


def test_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(DatabaseError, match=r"Python package psycopg, which is not installed"):
        Database("postgresql+psycopg://user:SECRET@host/db")


def test_every_failure_of_the_database_is_ours(store: JobStore) -> None:
    for transaction in (store.database.read, store.database.write):
        with pytest.raises(DatabaseError), transaction():
            raise SQLAlchemyError
    with pytest.raises(IntegrityError), store.database.write():
        raise IntegrityError("INSERT", None, Exception("twice"))


def test_cursor_is_a_place_that_can_be(store: JobStore) -> None:
    last = store.submit("score", {})[0].seq
    assert [job.seq for job in store.page(5, from_cursor(to_cursor(last + 1)))] == [last]
    assert store.page(5, from_cursor(to_cursor(2**31 - 1)))
    for seq in (-1, 2**31, 2**64):
        with pytest.raises(BadRequestError):
            from_cursor(to_cursor(seq))
