"""Worker processes: a job that two hold is finished once, and a worker goes when it is told to."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from api.errors import DatabaseError, LeaseLostError
from api.jobs import Job, JobStore, Outcome
from api.service import Service
from api.settings import Settings
from api.tasks import perform, require_unchanged
from api.uploads import SlideRecord, look_at
from api.worker import LOST, Worker
from slides.testing import write_slide

ROOT = Path(__file__).resolve().parents[1]
STARTED: list[subprocess.Popen[str]] = []


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    settings = Settings(data_dir=tmp_path / "data", lease_seconds=2, poll_seconds=0.1)
    service = Service.start(settings)
    yield service
    while STARTED:
        STARTED.pop().kill()  # a test that failed leaves no process behind
    service.database.close()


def add_slide(service: Service, size: tuple[int, int] = (1600, 1300), mpp: float = 1.0) -> SlideRecord:
    """A slide as an upload leaves it."""
    incoming = service.folder.new_incoming()
    write_slide(incoming / "upload.tiff", size=size, mpp=mpp).rename(incoming / "upload")
    return service.slides.accept(incoming, "0" * 64)


def start_worker(service: Service) -> subprocess.Popen[str]:
    """A worker process on a lifeline."""
    command = [sys.executable, "-P", "-m", "api.worker", "--lifeline"]
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, text=True)
    STARTED.append(worker)
    assert worker.stdin is not None
    worker.stdin.write(service.settings.model_dump_json() + "\n")
    worker.stdin.flush()
    return worker


def wait_for_state(service: Service, job: Job, states: set[str], seconds: float = 60) -> Job:
    end = time.monotonic() + seconds
    while (seen := service.jobs.get(job.id)).state not in states:
        assert time.monotonic() < end, seen
        time.sleep(0.05)
    return seen


def submit_score(service: Service, record: SlideRecord) -> Job:
    request = {"slide": record.id, "biomarker": "demo-response", "mpp0": None}
    return service.jobs.submit("score", request)[0]


def test_frozen_worker_cannot_commit_late(service: Service) -> None:
    job = submit_score(service, add_slide(service))
    frozen = start_worker(service)
    wait_for_state(service, job, {"running"})
    frozen.send_signal(signal.SIGSTOP)
    heir = start_worker(service)
    try:
        end = wait_for_state(service, job, {"succeeded", "failed"})
        assert (end.state, end.token, end.attempts) == ("succeeded", 2, 2)
        frozen.send_signal(signal.SIGCONT)
        assert frozen.wait(20) == 3, "it leaves because it lost its job"
        assert service.jobs.get(job.id) == end
        assert [path.name for path in (service.folder.root / "results").iterdir()] == [end.result]
    finally:
        for worker in (frozen, heir):
            worker.communicate("", timeout=20)
    assert heir.returncode == 0


@pytest.mark.parametrize("how", ["lifeline", "signal"])
def test_worker_gives_its_job_back_when_it_is_stopped(service: Service, how: str) -> None:
    job = submit_score(service, add_slide(service, size=(5000, 4000)))
    worker = start_worker(service)
    wait_for_state(service, job, {"running"})
    time.sleep(0.3)
    if how == "signal":
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(10) == 0
    worker.communicate("", timeout=10)
    assert worker.returncode == 0
    back = service.jobs.get(job.id)
    assert (back.state, back.attempts, back.token) == ("queued", 0, 1)


def test_worker_command_runs_until_a_signal(service: Service) -> None:
    env = os.environ | {"ONCOSCOPE_DATA_DIR": "elsewhere"}
    command = [sys.executable, "-m", "api.cli", "worker", "--data", str(service.settings.data_dir), "--json"]
    process = subprocess.Popen(command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    job, _ = service.jobs.submit("score", {"slide": "slide-" + "0" * 24, "biomarker": "demo-response", "mpp0": None})
    end = wait_for_state(service, job, {"failed"})
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "stopped" in said
    assert end.problem is not None
    assert end.problem["code"] == "not-found"


def claimed(service: Service, kind: str, request: dict[str, object]) -> Job:
    service.jobs.submit(kind, request)
    job = service.jobs.claim()
    assert job is not None
    return job


def test_unknown_error_fails_the_job_and_says_nothing(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_service: Service, _job: Job) -> Outcome:
        raise ZeroDivisionError("of DOE_JOHN")

    monkeypatch.setattr("api.worker.perform", fail)
    job, _ = service.jobs.submit("score", {})
    assert Worker(service).step()
    end = service.jobs.get(job.id)
    assert (end.state, (end.problem or {})["code"]) == ("failed", "internal")
    assert "DOE" not in str(end)


@pytest.mark.parametrize("error", [OSError(28, "no space"), MemoryError(), DatabaseError("away")], ids=repr)
def test_error_that_may_pass_is_tried_three_times(
    service: Service, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(_service: Service, _job: Job) -> Outcome:
        raise error

    monkeypatch.setattr("api.worker.perform", fail)
    monkeypatch.setattr("api.worker.RETRY_DELAY", 0.0)
    job, _ = service.jobs.submit("score", {})
    worker = Worker(service)
    states = []
    for _ in range(3):
        assert worker.step()
        states.append(service.jobs.get(job.id).state)
    assert states == ["queued", "queued", "failed"]
    assert not worker.step()


def test_result_that_nobody_wants_is_dropped(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def work_while_canceled(service: Service, job: Job) -> Outcome:
        folder = service.folder.new_result(job)
        folder.mkdir()
        service.jobs.cancel(job.id)
        return Outcome("succeeded", folder.name)

    monkeypatch.setattr("api.worker.perform", work_while_canceled)
    job, _ = service.jobs.submit("score", {})
    assert Worker(service).step()
    assert service.jobs.get(job.id).state == "canceled"
    assert list((service.folder.root / "results").iterdir()) == []


def test_changed_slide_is_not_scored(service: Service) -> None:
    record = add_slide(service)
    info = look_at(service.slides.path(record), service.settings, service.folder.quarantine)
    require_unchanged(record, info["content_hash"])
    write_slide(service.slides.path(record), size=(1600, 1300), mpp=1.0, seed=5)
    job = claimed(service, "score", {"slide": record.id, "biomarker": "demo-response", "mpp0": None})
    outcome = perform(service, job)
    assert outcome.state == "failed"
    assert outcome.problem is not None
    assert outcome.problem["code"] == "checksum"
    assert list((service.folder.root / "results").iterdir()) == []


def test_changed_slide_is_not_scored_in_a_cohort_either(service: Service) -> None:
    record = add_slide(service)
    write_slide(service.slides.path(record), size=(1600, 1300), mpp=1.0, seed=5)
    rows = [{"slide": record.id, "patient": None, "mpp0": None}]
    outcome = perform(service, claimed(service, "cohort", {"slides": rows, "biomarker": "demo-response"}))
    assert (outcome.state, (outcome.problem or {})["code"]) == ("failed", "checksum")
    assert list((service.folder.root / "results").iterdir()) == []


@pytest.mark.parametrize("error", [RuntimeError("DOE_JOHN"), LeaseLostError("taken"), DatabaseError("away")], ids=repr)
def test_worker_without_a_heartbeat_ends(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def end(status: int) -> NoReturn:
        raise SystemExit(status)

    def fail(_store: JobStore, _job: Job) -> NoReturn:
        raise error

    monkeypatch.setattr("os._exit", end)
    monkeypatch.setattr(JobStore, "heartbeat", fail)
    worker = Worker(service)
    worker._job = claimed(service, "score", {})
    with caplog.at_level(logging.INFO, "oncoscope"), pytest.raises(SystemExit) as ended:
        worker._beat()
    assert ended.value.code == LOST
    assert caplog.text
    assert "DOE" not in caplog.text


def test_worker_that_cannot_start_says_why_and_no_secret(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, database_url="nonsense://user:SECRET@host/db")
    command = [sys.executable, "-P", "-m", "api.worker", "--lifeline"]
    said = settings.model_dump_json() + "\n"
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, input=said, env=env, text=True, capture_output=True, check=False)
    assert done.returncode == 1
    assert "ONCOSCOPE_DATABASE_URL" in done.stderr
    assert not {"SECRET", "Traceback"} & set(re.findall(r"\w+", done.stderr))


def test_start_sweeps_what_dead_workers_left(service: Service) -> None:
    job = claimed(service, "score", {})
    root = service.folder.root
    under_way = root / "results" / f".{job.id}.1.abc.staging"
    kept = [service.folder.work(job), service.folder.new_result(job), under_way]
    gone = [root / "work" / f"{job.id}.0", root / "results" / f".{job.id}.0.abc.staging"]
    old = root / "stages" / ".abc.tiles.zarr.123.staging"
    fresh = root / "stages" / ".def.tiles.zarr.123.staging"
    for path in (*kept, *gone, old, fresh):
        path.mkdir()
    os.utime(old, (time.time() - 1e5, time.time() - 1e5))
    service.folder.sweep_work(service.jobs)
    assert all(path.exists() for path in (*kept, fresh))
    assert not any(path.exists() for path in (*gone, old))
    service.jobs.cancel(job.id)
    service.folder.sweep_work(service.jobs)
    assert not any(path.exists() for path in kept)
