"""The journey of a laboratory: curl against `oncoscope serve`, killed in the middle; jobs that outlive processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from slides.testing import write_slide

ROOT = Path(__file__).resolve().parents[1]
CANARY = "DOE_JOHN_19570312"
Json = dict[str, Any]
Seen = TypeVar("Seen")
ENDED = {"succeeded", "not_evaluable", "failed", "canceled"}
QUICK = {"ONCOSCOPE_LEASE_SECONDS": "3", "ONCOSCOPE_POLL_SECONDS": "0.1"}


class Server:
    """`oncoscope serve` on a free port, with its log in a file."""

    def __init__(self, folder: Path, log: Path, **more: str) -> None:
        env = os.environ | {"PYTHONPATH": str(ROOT)} | QUICK | more
        command = [sys.executable, "-m", "api.cli", "serve", "--json", "--port", "0", "--data", str(folder)]
        with log.open("a") as stderr:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, env=env, text=True)
        assert self.process.stdout is not None
        text = ""
        while not text.rstrip().endswith("}"):
            line = self.process.stdout.readline()
            assert line, log.read_text()
            text += line
        self.said: Json = json.loads(text)
        self.url: str = self.said["url"]

    def text(self, *arguments: str) -> str:
        """What curl prints."""
        return subprocess.run(["curl", "-sS", *arguments], capture_output=True, text=True, check=True).stdout

    def curl(self, *arguments: str) -> Json:
        """What curl prints, as JSON."""
        document: Json = json.loads(self.text(*arguments))
        return document

    def submit(self, order: Json, *arguments: str) -> Json:
        """Post a job."""
        return self.curl("--json", json.dumps(order), *arguments, f"{self.url}/v1/jobs")

    def upload(self, path: Path) -> str:
        """Send a slide, as a stream."""
        return str(self.curl("--request", "POST", "--upload-file", str(path), f"{self.url}/v1/slides")["id"])

    def wait(self, identity: str, states: set[str], seconds: float = 90) -> Json:
        """Poll a job until it is in one of the states."""
        return wait_for(
            lambda: self.curl(f"{self.url}/v1/jobs/{identity}"), lambda job: job["state"] in states, seconds
        )

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End the server by a signal."""
        self.process.send_signal(number)
        status = self.process.wait(20)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return status


def wait_for(look: Callable[[], Seen], fits: Callable[[Seen], bool], seconds: float) -> Seen:
    """What `look` gives, as soon as it fits."""
    end = time.monotonic() + seconds
    while not fits(seen := look()):
        assert time.monotonic() < end, seen
        time.sleep(0.2)
    return seen


def processes_of(folder: Path) -> list[int]:
    """Processes that have a file of the data folder open: server, worker, and the decoders in its jails."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                opened = [str(handle.readlink()) for handle in (process / "fd").iterdir()]
            except OSError:
                continue
            if any(name.startswith(str(folder)) for name in opened):
                found.append(int(process.name))
    return found


def workers_of(folder: Path) -> list[int]:
    """The same without the jails, which come and go."""
    jailed = [p for p in processes_of(folder) if b"slides.jail" in Path(f"/proc/{p}/cmdline").read_bytes()]
    return [process for process in processes_of(folder) if process not in jailed]


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A section at 1 um/px: few tiles, and tissue enough."""
    return write_slide(tmp_path_factory.mktemp(f"slides_{CANARY}") / f"{CANARY}.svs", size=(1600, 1300), mpp=1.0)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log") / "server.log"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, log: Path) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("data"), log)
    yield server
    assert server.stop() == 0


def test_kill_in_the_middle_ends_with_the_score(slide: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    folder, log = tmp_path / "data", tmp_path / "server.log"
    first = Server(folder, log)
    request.addfinalizer(first.process.kill)  # also where an assertion fails before the kill below
    uploaded = first.upload(slide)
    order = {"kind": "score", "slide": uploaded, "biomarker": "demo-response"}
    job = first.submit(order, "-H", "Idempotency-Key: 1")
    first.wait(job["id"], {"running"})
    assert len(workers_of(folder)) == 2
    first.stop(signal.SIGKILL)
    wait_for(lambda: processes_of(folder), lambda left: left == [], 10)

    second = Server(folder, log)
    try:
        assert second.submit(order, "-H", "Idempotency-Key: 1")["id"] == job["id"]
        end = second.wait(job["id"], ENDED)
        assert end["state"] == "succeeded", end
        links = {name: f"{second.url}{path}" for name, path in end["links"].items()}
        score = second.curl(links["score"])
        assert score["score"] == end["summary"]["score"]
        assert score["slide"]["id"] == uploaded
        assert "<html" in second.text(links["report"])
        assert len(second.curl(links["tiles.geojson"])["features"]) == score["tiles"]["1"]
        subprocess.run(["curl", "-sSf", "-o", str(tmp_path / "heat.png"), links["heatmap"]], check=True)
        assert (tmp_path / "heat.png").read_bytes().startswith(b"\x89PNG")
    finally:
        assert second.stop() == 0
    assert wait_for(lambda: processes_of(folder), lambda left: left == [], 10) == []
    assert CANARY not in log.read_text()
    assert len(list((folder / "results").iterdir())) == 1
    assert list((folder / "work").iterdir()) == []


def test_announcement(server: Server) -> None:
    assert server.url.startswith("http://127.0.0.1:")
    assert "research use only" in server.said["notice"]


def test_upload_that_is_cut_off_leaves_nothing(server: Server, slide: Path) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    incoming = Path(server.said["data"]) / "incoming"
    with socket.create_connection((host, int(port))) as client:
        client.sendall(f"POST /v1/slides HTTP/1.1\r\nHost: {host}\r\nContent-Length: 900000\r\n\r\n".encode())
        client.sendall(slide.read_bytes()[:50_000])
        wait_for(lambda: list(incoming.iterdir()), lambda found: len(found) == 1, 10)
    wait_for(lambda: list(incoming.iterdir()), lambda found: found == [], 10)


def test_ask_and_cohort_by_http(server: Server, slide: Path, tmp_path: Path) -> None:
    fine = write_slide(tmp_path / f"{CANARY}_fine.svs", size=(1000, 800), mpp=None)
    glass = write_slide(tmp_path / f"{CANARY}_glass.svs", size=(700, 500), kind="glass")
    good, empty, unscaled = server.upload(slide), server.upload(glass), server.upload(fine)
    rows = [{"slide": good, "patient": "P1"}, {"slide": empty}]
    cohort = server.submit({"kind": "cohort", "biomarker": "demo-response", "slides": rows})
    ask = server.submit({"kind": "ask", "slide": unscaled, "mpp0": 0.5, "prompts": ["stroma"]})
    refused = server.submit({"kind": "ask", "slide": unscaled, "prompts": ["stroma"]})
    done = server.wait(cohort["id"], ENDED)
    assert (done["state"], done["summary"]["scored"], done["summary"]["not_evaluable"]) == ("succeeded", 1, 1)
    status = server.text(f"{server.url}{done['links']['status.csv']}")
    assert f"{good},scored" in status
    assert f"{empty},not_evaluable" in status
    assert f"{good},P1" in server.text(f"{server.url}{done['links']['scores.csv']}")
    done = server.wait(ask["id"], ENDED)
    assert done["state"] == "succeeded", done
    answer = server.curl(f"{server.url}{done['links']['answer']}")
    assert answer["prompts"][0]["score"] == done["summary"]["prompts"][0]["score"]
    done = server.wait(refused["id"], ENDED)
    assert (done["state"], done["problem"]["code"]) == ("not_evaluable", "missing-mpp")
    assert "mpp0" in done["problem"]["detail"]


def test_job_survives_its_worker(server: Server, slide: Path) -> None:
    uploaded = server.upload(slide)
    job = server.submit({"kind": "score", "slide": uploaded, "biomarker": "demo-response", "mpp0": 0.9})
    server.wait(job["id"], {"running"})
    (worker,) = set(workers_of(Path(server.said["data"]))) - {server.process.pid}
    os.kill(worker, signal.SIGKILL)
    end = server.wait(job["id"], ENDED)
    assert (end["state"], end["attempts"]) == ("succeeded", 2)


def test_cancel_stops_a_running_job(server: Server, tmp_path: Path) -> None:
    large = write_slide(tmp_path / "large.svs", size=(6000, 5000), mpp=0.5)
    uploaded = server.upload(large)
    job = server.submit({"kind": "score", "slide": uploaded, "biomarker": "tissue-composition"})
    server.wait(job["id"], {"running"})
    canceled = server.curl("--request", "POST", f"{server.url}/v1/jobs/{job['id']}/cancel")
    assert canceled["state"] == "canceled"
    begin = time.monotonic()
    quick = server.submit({"kind": "score", "slide": uploaded, "biomarker": "tissue-composition", "mpp0": 50})
    end = server.wait(quick["id"], ENDED)
    assert end["state"] == "not_evaluable", end
    assert time.monotonic() - begin < 30
    assert server.curl(f"{server.url}/v1/jobs/{job['id']}")["state"] == "canceled"


def test_log_names_nothing(server: Server, log: Path) -> None:
    subprocess.run(["curl", "-sS", f"{server.url}/v1/{CANARY}?name={CANARY}"], check=True, capture_output=True)
    text = wait_for(log.read_text, lambda text: "(no route) 404" in text, 5)
    assert "POST /v1/slides 201" in text
    assert CANARY not in text
    assert "Traceback" not in text
