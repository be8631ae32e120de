"""How far a job is: clients see it while it runs, in numbers alone, and the database is asked about once a second."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.database import Database
from api.errors import DatabaseError
from api.jobs import Job, JobStore
from api.progress import PATIENCE, JobProgress
from api.service import Service
from api.settings import Settings
from api.supervisor import WorkerProcess
from api.tasks import perform
from slides.testing import write_slide

ROOT = Path(__file__).resolve().parents[1]
CANARY = "DOE_JOHN_19570312"
KEYS = {"stage", "slides_done", "slides", "tiles_done", "tiles", "seconds", "tiles_per_s", "eta_s"}
Seen = list[dict[str, Any]]


class Clock:
    """Seconds that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    app = create_app(Settings(data_dir=tmp_path / "data", poll_seconds=0.1))
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        yield client


@pytest.fixture
def service(client: TestClient) -> Service:
    found = client.app.state.service  # type: ignore[attr-defined]
    assert isinstance(found, Service)
    return found


@pytest.fixture
def job(service: Service) -> Job:
    service.jobs.submit("score", {})
    found = service.jobs.claim()
    assert found is not None
    return found


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Every write of progress."""
    seen: Seen = []
    write = JobStore.report

    def report(store: JobStore, job: Job, progress: dict[str, Any]) -> None:
        seen.append(progress)
        write(store, job, progress)

    monkeypatch.setattr(JobStore, "report", report)
    return seen


def upload(client: TestClient, folder: Path, size: tuple[int, int], seed: int = 0) -> str:
    path = write_slide(folder / f"{CANARY}-{seed}.svs", size=size, seed=seed)
    return str(client.post("/v1/slides", content=path.read_bytes()).json()["id"])


def test_a_client_sees_how_far_its_job_is(client: TestClient, service: Service, tmp_path: Path) -> None:
    order = {"kind": "score", "slide": upload(client, tmp_path, (5000, 4000)), "biomarker": "tissue-composition"}
    path = client.post("/v1/jobs", json=order).headers["location"]
    assert client.get(path).json()["progress"] is None
    seen: Seen = []
    end = time.monotonic() + 90
    with WorkerProcess(service.settings):
        while (document := client.get(path).json())["state"] in {"queued", "running"}:
            assert time.monotonic() < end, document
            if document["progress"] and document["progress"] not in seen[-1:]:
                seen.append(document["progress"])
            time.sleep(0.02)
    last = document["progress"]
    assert document["state"] == "succeeded"
    assert {step["stage"] for step in [*seen, last]} == {"tiling", "embedding"}
    assert all(set(step) == KEYS and step["slides"] == 1 for step in seen)
    embedding = [step["tiles_done"] for step in seen if step["stage"] == "embedding"]
    assert embedding == sorted(embedding)
    assert any(0 < done < last["tiles"] for done in embedding), "it is told while it is done"
    assert last["tiles_done"] == last["tiles"] > 100
    assert last["tiles_per_s"] > 1
    assert client.get("/v1/jobs").json()["jobs"][0]["progress"] == last
    assert CANARY not in str(document)


@pytest.mark.parametrize("kind", ["ask", "cohort"])
def test_every_kind_of_job_tells(client: TestClient, service: Service, tmp_path: Path, kind: str) -> None:
    slides = [upload(client, tmp_path, (1600, 1300), seed) for seed in range(2)]
    order: dict[str, Any] = {"kind": "ask", "slide": slides[0], "prompts": ["necrosis"]}
    if kind == "cohort":
        rows = [{"slide": slide, "patient": "P-1", "mpp0": 1.0} for slide in slides]
        order = {"kind": "cohort", "slides": rows, "biomarker": "demo-response"}
    path = client.post("/v1/jobs", json=order).headers["location"]
    job = service.jobs.claim()
    assert job is not None
    assert perform(service, job).state == "succeeded"
    told = client.get(path).json()["progress"]
    count = 2 if kind == "cohort" else 1
    assert (told["slides_done"], told["slides"]) == (count, count)
    assert told["stage"] == ("scoring" if kind == "cohort" else "embedding")
    assert told["tiles_done"] == told["tiles"] > 0


def test_events_are_written_once_a_second(service: Service, job: Job, writes: Seen) -> None:
    clock = Clock()
    told = JobProgress(service.jobs, job, clock=clock)
    for done in range(1, 101):  # 16 events a second
        clock.now += 1 / 16
        told.embedding(done, 100)
    told.flush()
    told.flush()
    assert [step["tiles_done"] for step in writes] == [1, 17, 33, 49, 65, 81, 97, 100]
    kept = service.jobs.get(job.id).progress
    assert kept is not None
    assert (kept["tiles_per_s"], kept["eta_s"]) == (pytest.approx(16, rel=0.1), 0.0)


def test_the_rate_of_a_stage_is_its_own(service: Service, job: Job, writes: Seen) -> None:
    clock = Clock()
    told = JobProgress(service.jobs, job, clock=clock)
    clock.now += 50
    told.tiling(100, 100)
    clock.now += 10
    told.embedding(50, 100)
    told.flush()
    assert [(step["stage"], step["tiles_per_s"], step["eta_s"]) for step in writes] == [
        ("tiling", 2.0, 0.0),
        ("embedding", 5.0, 10.0),
    ]


def test_a_slow_database_is_left_alone(service: Service, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, asked = Clock(), []

    def report(_store: JobStore, _job: Job, _progress: dict[str, Any]) -> None:
        asked.append(clock.now)
        clock.now += 5
        raise DatabaseError("away")

    monkeypatch.setattr(JobStore, "report", report)
    told = JobProgress(service.jobs, job, clock=clock)
    for done in range(1, 101):
        clock.now += 1
        told.embedding(done, 100)
    assert asked == [101.0, 101.0 + 5 + 5 * PATIENCE]


def test_a_job_that_was_lost_is_not_told(service: Service, job: Job) -> None:
    told = JobProgress(service.jobs, job)
    service.jobs.cancel(job.id)
    told.embedding(1, 2)
    assert service.jobs.get(job.id).progress is None


def test_a_new_attempt_begins_anew(service: Service, job: Job) -> None:
    JobProgress(service.jobs, job).embedding(1, 2)
    service.jobs.release(job, blame=True)
    assert service.jobs.get(job.id).progress is not None
    again = service.jobs.claim()
    assert again is not None
    assert again.progress is None


def test_a_table_of_an_earlier_version_gets_the_column(service: Service, job: Job) -> None:
    address = str(service.database.engine.url)
    service.database.close()
    with sqlite3.connect(service.database.engine.url.database or "") as old:
        old.execute("ALTER TABLE jobs DROP COLUMN progress")
    database = Database(address)
    jobs = JobStore(database, 15, 3)
    assert jobs.get(job.id) == job
    jobs.report(job, {"stage": "tiling"})
    assert jobs.get(job.id).progress == {"stage": "tiling"}
    database.close()
