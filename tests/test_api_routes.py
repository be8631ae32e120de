"""The routes, one application in this process and no worker: documents, problems, uploads, privacy."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from httpx2 import Response
from starlette.testclient import TestClient

from api.app import create_app
from api.jobs import Outcome
from api.service import Service
from api.settings import Settings
from slides.testing import write_slide

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 2_000_000
NOWHERE = "slide-" + "0" * 24
NO_JOB = "job-" + "0" * 24
CANARY = "DOE_JOHN_19570312"


@pytest.fixture(scope="module")
def slide_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_slide(tmp_path_factory.mktemp("made") / f"{CANARY}.svs", size=(900, 700)).read_bytes()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))  # the process that looks at uploads, in a checkout not installed
        app = create_app(Settings(data_dir=tmp_path_factory.mktemp("data"), max_upload_bytes=LIMIT))
        with TestClient(app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False) as client:
            yield client


@pytest.fixture
def service(client: TestClient) -> Service:
    found = client.app.state.service  # type: ignore[attr-defined]
    assert isinstance(found, Service)
    return found


@pytest.fixture(scope="module")
def slide(client: TestClient, slide_bytes: bytes) -> str:
    answer = client.post("/v1/slides", content=slide_bytes)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def score_of(slide: str, **more: float | str) -> dict[str, Any]:
    return {"kind": "score", "slide": slide, "biomarker": "tissue-composition", **more}


def check_problem(answer: Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert "research use only" in answer.headers["x-oncoscope-notice"]
    document: dict[str, Any] = answer.json()
    assert {"type", "title", "status", "detail", "code", "notice"} <= set(document)
    assert (document["status"], document["code"]) == (status, code)
    assert document["type"].endswith(code)
    return document


def test_health(client: TestClient) -> None:
    answer = client.get("/health")
    document = answer.json()
    assert answer.status_code == 200
    assert document["status"] == "ok"
    assert set(document["jobs"]) == {"queued", "running"}
    assert "research use only" in document["notice"]
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_catalogues(client: TestClient) -> None:
    cards = client.get("/v1/biomarkers").json()
    assert {"tissue-composition", "demo-response"} <= {card["name"] for card in cards["biomarkers"]}
    assert all(card["intended_use"] and card["limits"] for card in cards["biomarkers"])
    assert "builtin" in {row["key"] for row in client.get("/v1/encoders").json()["encoders"]}


def test_job_is_accepted_and_followed(client: TestClient, slide: str) -> None:
    answer = client.post("/v1/jobs", json=score_of(slide, mpp0=0.46))
    document = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == document["links"]["self"]
    assert answer.headers["retry-after"] == "1"
    assert document["state"] == "queued"
    assert document["request"] == {"slide": slide, "biomarker": "tissue-composition", "mpp0": 0.46}
    assert document["created"].endswith("Z")
    assert client.get(answer.headers["location"]).json() == document
    canceled = client.post(document["links"]["cancel"]).json()
    assert canceled["state"] == "canceled"
    assert canceled["links"] == {"self": document["links"]["self"]}


def test_all_kinds_are_accepted(client: TestClient, slide: str) -> None:
    cohort = {"kind": "cohort", "biomarker": "demo-response", "slides": [{"slide": slide, "patient": "P1"}]}
    asked = {"kind": "ask", "slide": slide, "prompts": ["stroma", "immune cells"]}
    for order in (cohort, asked):
        answer = client.post("/v1/jobs", json=order)
        assert answer.status_code == 202, answer.text
        client.post(f"{answer.headers['location']}/cancel")


def test_idempotency_key(client: TestClient, slide: str) -> None:
    headers = {"Idempotency-Key": "order-17"}
    first = client.post("/v1/jobs", json=score_of(slide), headers=headers)
    again = client.post("/v1/jobs", json=score_of(slide), headers=headers)
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["id"] == again.json()["id"]
    other = client.post("/v1/jobs", json=score_of(slide, mpp0=0.3), headers=headers)
    check_problem(other, 409, "key-reused")


def test_pages_follow_each_other(client: TestClient, slide: str) -> None:
    made = [client.post("/v1/jobs", json=score_of(slide)).json()["id"] for _ in range(5)]
    seen: list[str] = []
    path: str | None = "/v1/jobs?limit=2&state=queued"
    while path is not None and len(seen) < 100:
        page = client.get(path).json()
        seen += [job["id"] for job in page["jobs"]]
        path = page["next"]
    assert [identity for identity in seen if identity in made] == made[::-1]
    assert len(set(seen)) == len(seen)


PROBLEMS: list[tuple[str, str, Any, int, str]] = [
    ("GET", "/nowhere", None, 404, "not-found"),
    ("GET", f"/v1/{CANARY}", None, 404, "not-found"),
    ("DELETE", "/health", None, 405, "method-not-allowed"),
    ("PUT", "/v1/slides", None, 405, "method-not-allowed"),
    ("GET", f"/v1/slides/{NOWHERE}", None, 404, "not-found"),
    ("GET", f"/v1/slides/{CANARY}", None, 422, "invalid-request"),
    ("GET", f"/v1/jobs/{NO_JOB}", None, 404, "not-found"),
    ("GET", "/v1/jobs/..%2f..%2fetc%2fpasswd", None, 404, "not-found"),
    ("GET", f"/v1/jobs/{CANARY}", None, 422, "invalid-request"),
    ("POST", f"/v1/jobs/{NO_JOB}/cancel", None, 404, "not-found"),
    ("GET", "/v1/jobs?limit=0", None, 422, "invalid-request"),
    ("GET", f"/v1/jobs?state={CANARY}", None, 422, "invalid-request"),
    ("GET", "/v1/jobs?cursor=%00", None, 400, "bad-request"),
    ("GET", f"/v1/jobs?cursor={CANARY}", None, 400, "bad-request"),
    ("POST", "/v1/jobs", None, 422, "invalid-request"),
    ("POST", "/v1/jobs", b"{not json", 422, "invalid-request"),
    ("POST", "/v1/jobs", b"\xff\xfe", 422, "invalid-request"),
    ("POST", "/v1/jobs", b'{"a": "' + b"x" * 5_000_000 + b'"}', 413, "too-large"),
    ("POST", "/v1/jobs", [], 422, "invalid-request"),
    ("POST", "/v1/jobs", {"kind": CANARY}, 422, "invalid-request"),
    ("POST", "/v1/jobs", score_of(NOWHERE), 422, "unknown-slide"),
    ("POST", "/v1/jobs", score_of("slide", biomarker="../../secret.toml"), 422, "invalid-request"),
    ("POST", "/v1/jobs", score_of("SLIDE", biomarker="immune-magic"), 422, "unknown-biomarker"),
    ("POST", "/v1/jobs", score_of("SLIDE", mpp=0.5), 422, "invalid-request"),
    ("POST", "/v1/jobs", score_of("SLIDE", mpp0=0), 422, "invalid-request"),
    (
        "POST",
        "/v1/jobs",
        b'{"kind":"score","slide":"SLIDE","biomarker":"demo-response","mpp0":NaN}',
        422,
        "invalid-request",
    ),
    ("POST", "/v1/jobs", {"kind": "ask", "slide": "SLIDE", "prompts": []}, 422, "invalid-request"),
    ("POST", "/v1/jobs", {"kind": "ask", "slide": "SLIDE", "prompts": ["zeppelin"]}, 422, "unknown-term"),
    ("POST", "/v1/jobs", {"kind": "cohort", "biomarker": "demo-response", "slides": []}, 422, "invalid-request"),
    (
        "POST",
        "/v1/jobs",
        {"kind": "cohort", "biomarker": "demo-response", "slides": [{"slide": "SLIDE"}, {"slide": "SLIDE"}]},
        422,
        "invalid-request",
    ),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "code"), PROBLEMS)
def test_every_error_is_a_problem_document(
    client: TestClient, slide: str, method: str, path: str, body: object, status: int, code: str
) -> None:
    content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    content = None if content is None else content.replace(b"SLIDE", slide.encode())
    headers = {} if content is None else {"content-type": "application/json"}
    answer = client.request(method, path, content=content, headers=headers)
    document = check_problem(answer, status, code)
    assert CANARY not in answer.text
    if code == "invalid-request":
        assert document["errors"]
    if status == 405:
        assert answer.headers["allow"]


RESULTS = {
    "score": ("score", "report", "heatmap", "tiles.geojson"),
    "cohort": ("scores.csv", "status.csv"),
    "ask": ("answer", "heatmap", "tiles.geojson"),
}


def test_results_by_state_and_kind(client: TestClient, service: Service, slide: str) -> None:
    names = sorted({name for names in RESULTS.values() for name in names})
    job, _ = service.jobs.submit("score", {"slide": slide})
    for name in names:
        answer = client.get(f"/v1/jobs/{job.id}/{name}")
        if name in RESULTS["score"]:
            check_problem(answer, 409, "not-ready")
            assert answer.headers["retry-after"] == "1"
        else:
            check_problem(answer, 404, "not-found")
    service.jobs.cancel(job.id)
    check_problem(client.get(f"/v1/jobs/{job.id}/score"), 409, "conflict")
    check_problem(client.post(f"/v1/jobs/{finished(service, 'score')}/cancel"), 409, "conflict")


def finished(service: Service, kind: str) -> str:
    """The id of a job that has ended well, with made-up files as its result."""
    for old in service.jobs.page(200, state="queued"):
        service.jobs.cancel(old.id)
    service.jobs.submit(kind, {})
    job = service.jobs.claim()
    assert job is not None
    folder = service.folder.new_result(job)
    folder.mkdir()
    for name in ("report.json", "answer.json"):
        (folder / name).write_text("{}")
    for name in ("report.html", "heatmap.png", "prompt-1.png", "prompt-2.png", "scores.csv", "status.csv"):
        (folder / name).write_text(name)
    for name in ("tiles.geojson", "prompt-1.geojson"):
        (folder / name).write_text("{}")
    service.jobs.finish(job, Outcome("succeeded", folder.name, {"score": 0.5}))
    return job.id


@pytest.mark.parametrize("kind", sorted(RESULTS))
def test_links_of_a_finished_job_lead_to_files(client: TestClient, service: Service, kind: str) -> None:
    document = client.get(f"/v1/jobs/{finished(service, kind)}").json()
    assert set(document["links"]) == {"self", *RESULTS[kind]}
    for name, path in document["links"].items():
        answer = client.get(path)
        assert answer.status_code == 200, name
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "research use only" in answer.headers["x-oncoscope-notice"]
    types = {name: client.get(path).headers["content-type"] for name, path in document["links"].items()}
    assert types.get("heatmap", "image/png") == "image/png"
    assert types.get("tiles.geojson", "application/geo+json") == "application/geo+json"


def test_report_may_run_and_load_nothing(client: TestClient, service: Service) -> None:
    answer = client.get(f"/v1/jobs/{finished(service, 'score')}/report")
    policy = answer.headers["content-security-policy"]
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in policy
    assert "sandbox" in policy
    assert "script-src" not in policy


def test_each_prompt_has_its_heat_map(client: TestClient, service: Service) -> None:
    identity = finished(service, "ask")
    assert client.get(f"/v1/jobs/{identity}/heatmap?prompt=1").text == "prompt-2.png"
    check_problem(client.get(f"/v1/jobs/{identity}/heatmap?prompt=7"), 404, "not-found")
    check_problem(client.get(f"/v1/jobs/{identity}/heatmap?prompt=-1"), 422, "invalid-request")


def test_other_names_and_other_sites_are_refused(client: TestClient) -> None:
    check_problem(client.get("/health", headers={"host": "evil.example"}), 421, "misdirected-request")
    check_problem(client.get("/health", headers={"host": "evil.example:8000"}), 421, "misdirected-request")
    for site in ("cross-site", "same-site"):
        headers = {"sec-fetch-site": site}
        check_problem(client.post("/v1/slides", content=b"x", headers=headers), 403, "forbidden")
        assert client.get("/health", headers=headers).status_code == 200
    assert client.get("/health", headers={"host": "localhost:9"}).status_code == 200


def test_unexpected_error_gives_an_id_and_no_text(
    client: TestClient, service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise OSError(2, "No such file", f"/data/{CANARY}.svs")

    monkeypatch.setattr(type(service.jobs), "counts", lambda _self: fail())
    with caplog.at_level(logging.INFO, "oncoscope"):
        document = check_problem(client.get("/health"), 500, "internal")
    assert document["id"] in caplog.text
    assert "FileNotFoundError" in caplog.text
    assert CANARY not in caplog.text


def test_schema_is_served_and_names_the_problem_type(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()
    assert "application/octet-stream" in schema["paths"]["/v1/slides"]["post"]["requestBody"]["content"]
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            assert operation["responses"]["default"]["content"]["application/problem+json"]["schema"], path
            assert list(operation["responses"]["422"]["content"]) == ["application/problem+json"], path
    assert "Problem" in schema["components"]["schemas"]
