"""Uploads: kept whole or not at all, looked at in a process of its own, and nameless."""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from httpx2 import Response
from sqlalchemy import Connection, event, func, select
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient

from api.app import create_app
from api.database import slides
from api.errors import UploadError
from api.service import Service
from api.settings import Settings
from api.uploads import look_at
from slides import QuarantinedSlideError
from slides.testing import write_slide

LIMIT = 2_000_000
CANARY = "DOE_JOHN_19570312"


@pytest.fixture(scope="module")
def slide_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_slide(tmp_path_factory.mktemp("made") / f"{CANARY}.svs", size=(900, 700)).read_bytes()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    app = create_app(Settings(data_dir=tmp_path_factory.mktemp("data"), max_upload_bytes=LIMIT))
    with TestClient(app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def service(client: TestClient) -> Service:
    found = client.app.state.service  # type: ignore[attr-defined]
    assert isinstance(found, Service)
    return found


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.suffix != ".db-wal"}


def check_problem(answer: Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert "research use only" in answer.headers["x-oncoscope-notice"]
    document: dict[str, Any] = answer.json()
    assert {"type", "title", "status", "detail", "code", "notice"} <= set(document)
    assert (document["status"], document["code"]) == (status, code)
    assert document["type"].endswith(code)
    return document


def test_upload_is_kept_whole(client: TestClient, service: Service, slide_bytes: bytes) -> None:
    answer = client.post("/v1/slides", content=slide_bytes)
    document = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/v1/slides/{document['id']}"
    assert document["bytes"] == len(slide_bytes)
    assert document["sha256"] == hashlib.sha256(slide_bytes).hexdigest()
    assert document["info"]["size"] == [900, 700]
    assert document["info"]["mpp"] == [0.5, 0.5]
    assert client.get(answer.headers["location"]).json() == document
    kept = service.folder.slide(document["id"])
    assert [path.read_bytes() for path in kept.iterdir()] == [slide_bytes]
    assert list((service.folder.root / "incoming").iterdir()) == []


def test_announced_digest_is_checked(client: TestClient, service: Service, slide_bytes: bytes) -> None:
    digest = hashlib.sha256(slide_bytes).digest()
    right = [{"x-content-sha256": digest.hex()}, {"content-digest": f"sha-256=:{base64.b64encode(digest).decode()}:"}]
    for headers in right:
        assert client.post("/v1/slides", content=slide_bytes, headers=headers).status_code == 201
    before = files_below(service.folder.root)
    wrong = {"x-content-sha256": hashlib.sha256(b"other").hexdigest()}
    check_problem(client.post("/v1/slides", content=slide_bytes, headers=wrong), 422, "checksum")
    for odd in ({"x-content-sha256": "abc"}, {"x-content-sha256": "ab"}, {"content-digest": "sha-256=:?:"}):
        check_problem(client.post("/v1/slides", content=slide_bytes, headers=odd), 400, "bad-request")
    assert files_below(service.folder.root) == before


def test_bad_uploads_leave_nothing(client: TestClient, service: Service, slide_bytes: bytes) -> None:
    before = files_below(service.folder.root)
    check_problem(client.post("/v1/slides", content=b""), 400, "bad-request")
    check_problem(client.post("/v1/slides", content=b"no slide at all"), 422, "not-a-slide")
    check_problem(client.post("/v1/slides", content=slide_bytes[: len(slide_bytes) // 3]), 422, "damaged-slide")
    check_problem(client.post("/v1/slides", content=b"x" * (LIMIT + 1)), 413, "too-large")
    check_problem(client.post("/v1/slides", content=(b"x" * 500_000 for _ in range(5))), 413, "too-large")
    assert files_below(service.folder.root) == before
    assert list((service.folder.root / "incoming").iterdir()) == []


def test_the_database_is_free_while_an_upload_is_written_to_the_disk(
    service: Service, slide_bytes: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []

    def look(_path: Path) -> None:
        with service.database.write() as connection:  # waits for ever, or is refused, inside of another one
            counted.append(connection.execute(select(func.count()).select_from(slides)).scalar_one())

    monkeypatch.setattr("api.database.BUSY_SECONDS", 0.1)
    monkeypatch.setattr("api.folder.sync", look)
    incoming = service.folder.new_incoming()
    (incoming / "upload").write_bytes(slide_bytes)
    service.slides.accept(incoming, "0" * 64)
    assert [count - counted[0] for count in counted] == [0, 0, 1], "the file, its folder; then the folder above"


def test_an_upload_that_the_database_refuses_is_not_kept(
    client: TestClient, service: Service, slide_bytes: bytes
) -> None:
    def refuse(_connection: Connection) -> None:
        raise OperationalError("COMMIT", None, Exception("the disk is full"))

    before = files_below(service.folder.root)
    event.listen(service.database.engine, "commit", refuse)
    try:
        check_problem(client.post("/v1/slides", content=slide_bytes), 503, "database")
    finally:
        event.remove(service.database.engine, "commit", refuse)
    assert files_below(service.folder.root) == before


def test_reader_that_wants_too_much_is_ended(slide_bytes: bytes, tmp_path: Path) -> None:
    starved = Settings(data_dir=tmp_path, inspect_memory_bytes=1)
    with TestClient(create_app(starved), base_url="http://127.0.0.1") as other:
        answer = other.post("/v1/slides", content=slide_bytes)
    check_problem(answer, 422, answer.json()["code"])
    assert answer.json()["code"] in {"upload", "damaged-slide"}
    assert list((tmp_path / "incoming").iterdir()) == []


def test_reader_that_never_answers_is_ended(
    slide_bytes: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "slide.tiff"
    file.write_bytes(slide_bytes)
    with monkeypatch.context() as patch:
        patch.setattr("slides.jail.cell.SLOWEST_DISK", 1e18)  # no time for the size of the file
        for _ in range(3):
            with pytest.raises(UploadError):
                look_at(file, Settings(inspect_seconds=1e-9), tmp_path / "quarantine")
    with pytest.raises(QuarantinedSlideError):
        look_at(file, Settings(), tmp_path / "quarantine")
    assert look_at(file, Settings(), tmp_path / "another")["size"] == [900, 700]


def test_names_reach_neither_answers_nor_logs_nor_disk(
    client: TestClient, service: Service, slide_bytes: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"content-disposition": f'attachment; filename="{CANARY}.svs"', "x-file-name": CANARY, "referer": CANARY}
    answers = []
    with caplog.at_level(logging.DEBUG, "oncoscope"):
        for body in (slide_bytes, slide_bytes[:5000], b"nothing"):
            answers.append(client.post(f"/v1/slides?name={CANARY}", content=body, headers=headers))  # noqa: PERF401
        answers.append(client.get(f"/v1/slides/{CANARY}/{CANARY}"))
    assert [answer.status_code for answer in answers] == [201, 422, 422, 404]
    assert CANARY not in caplog.text
    assert "POST /v1/slides 201" in caplog.text
    assert not any(CANARY in answer.text + str(answer.headers) for answer in answers)
    assert not any(CANARY in name for name in files_below(service.folder.root))
    database = b"".join(path.read_bytes() for path in service.folder.root.glob("oncoscope.db*"))
    assert CANARY.encode() not in database


def test_start_sweeps_unfinished_uploads_unless_another_server_runs(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    first, second = create_app(settings), create_app(settings)
    leftover = tmp_path / "incoming" / "slide-of-a-killed-server"
    leftover.mkdir()
    with TestClient(first):
        assert not leftover.exists()
        under_way = tmp_path / "incoming" / "slide-under-way"
        under_way.mkdir()
        with TestClient(second):
            assert under_way.exists()
