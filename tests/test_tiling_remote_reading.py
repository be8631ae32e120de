"""Tile stores in object storage, read: by parts, never damaged ones, and no address in any complaint."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slides.testing import write_slide
from tiling import (
    DamagedStoreError,
    NotAStoreError,
    RemoteStoreError,
    TileSpec,
    TileStore,
    is_committed,
    publish,
    read_manifest,
    tile,
    verify_manifest,
)
from tools.object_server import ObjectServer, Stored, member_of, serving

SPECS = [TileSpec(0.5, px=64), TileSpec(1.0, px=64)]
OUT = "s3://bucket-of-ward-7/a prefix"
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slide(tmp_path_factory.mktemp("slide") / "s.svs", size=(2400, 7200), seed=2)


@pytest.fixture(scope="module")
def local(slide: Path, tmp_path_factory: pytest.TempPathFactory) -> TileStore:
    return tile(slide, SPECS, tmp_path_factory.mktemp("whole"))


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectServer]:
    with serving() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def remote(storage: ObjectServer, local: TileStore) -> TileStore:
    """The same store in object storage."""
    assert not storage.objects
    publish.upload(local.path, f"{OUT}/{local.path.name}")
    return TileStore.open(f"{OUT}/{local.path.name}")


@pytest.mark.parametrize("mpp", [0.5, 1.0])
def test_some_tiles_cost_their_bytes(storage: ObjectServer, remote: TileStore, local: TileStore, mpp: float) -> None:
    rng = np.random.default_rng(1)
    index = rng.choice(len(local.grid(mpp)), 9, replace=False)
    whole = np.concatenate([pixels for _, pixels in local.batches(mpp, 10**6)])
    order = np.concatenate([batch for batch, _ in local.batches(mpp, 10**6)])
    expected = whole[np.argsort(order)][index]
    assert np.array_equal(local.tiles(mpp, index), expected)
    storage.requests.clear()
    before = storage.sent
    assert np.array_equal(remote.tiles(mpp, index), expected)
    assert storage.sent - before < sum(len(content) for content in storage.members.values()) / 10
    storage.requests.clear()
    remote.tiles(mpp, index[:1])
    assert [method for method, _ in storage.requests] == ["GET", "GET"]  # the shard's index, the tile
    assert remote.tiles(mpp, index[:0]).shape == (0, 64, 64, 3)


def test_the_first_batch_costs_a_few_shards(storage: ObjectServer, remote: TileStore) -> None:
    storage.requests.clear()
    batches = remote.batches(0.5, 16, threads=1)
    next(batches)
    batches.close()  # type: ignore[attr-defined]  # it is a generator
    asked = {key for _, key in storage.requests}
    assert 0 < len(asked) < len(storage.shards)


def test_opening_reads_no_pixels(storage: ObjectServer, remote: TileStore) -> None:
    storage.requests.clear()
    TileStore.open(remote.location)
    assert not [key for _, key in storage.requests if "/pixels/c/" in key]
    assert {method for method, _ in storage.requests} == {"GET"}


def test_altered_pixels_are_found(storage: ObjectServer, remote: TileStore) -> None:
    key = storage.shards[2]
    storage.alter(key)
    name = member_of(key)
    assert verify_manifest(remote.location) == [name]
    with pytest.raises(DamagedStoreError, match="shard"):
        list(remote.batches(0.5, 64))
    with pytest.raises(DamagedStoreError, match="shard"):
        remote.tiles(0.5, np.arange(len(remote.grid(0.5))))


def test_every_altered_object_is_named(storage: ObjectServer, remote: TileStore) -> None:
    for key in sorted(storage.objects)[:: len(storage.objects) // 12]:
        before = storage.objects[key]
        storage.alter(key)
        try:
            damaged = verify_manifest(remote.location)
        except NotAStoreError:
            damaged = ["manifest.json"]
        assert damaged == [member_of(key)]
        storage.objects[key] = before
    storage.objects[f"{remote.location.removeprefix('s3://')}/stranger"] = Stored(b"?")
    assert verify_manifest(remote.location) == ["stranger"]


def test_an_altered_array_is_never_opened(storage: ObjectServer, remote: TileStore) -> None:
    for key in [k for k in storage.objects if "/pixels/c/" not in k and not k.endswith("manifest.json")]:
        before = storage.objects[key]
        storage.alter(key)
        with pytest.raises(DamagedStoreError, match="altered"):
            TileStore.open(remote.location)
        storage.objects[key] = before
    TileStore.open(remote.location)


def test_what_is_refused_is_said_without_addresses(storage: ObjectServer, remote: TileStore, slide: Path) -> None:
    storage.refuses = lambda _method, _key: True
    calls: list[Callable[[], object]] = [
        lambda: TileStore.open(remote.location),
        lambda: is_committed(remote.location),
        lambda: verify_manifest(remote.location),
        lambda: list(remote.batches(0.5, 9)),
        lambda: tile(slide, SPECS, OUT),
    ]
    for call in calls:
        with pytest.raises(RemoteStoreError, match="refuses") as caught:
            call()
        said = "".join(traceback.format_exception(caught.value))
        assert not [word for word in ("ward-7", remote.fingerprint, storage.url, "someone") if word in said]


def test_storage_that_is_away(remote: TileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(RemoteStoreError, match="does not answer"):
        TileStore.open(remote.location)


@pytest.mark.parametrize("address", ["s3://bucket", "s3://", "s3://bucket/a?b=c"])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(NotAStoreError, match="bucket/prefix"):
        TileStore.open(address)


def test_a_local_store_needs_no_http_client(local: TileStore) -> None:
    code = "import sys; from tiling import TileStore; from pathlib import Path; TileStore(Path(sys.argv[1])).mask; "
    code += "sys.exit('obstore' in sys.modules)"
    subprocess.run([sys.executable, "-c", code, str(local.path)], cwd=ROOT, check=True)


def test_the_command_line_tiles_into_a_bucket_and_verifies(
    storage: ObjectServer, slide: Path, local: TileStore, tmp_path: Path
) -> None:
    def run(*arguments: str) -> tuple[int, dict[str, Any]]:
        command = [sys.executable, "-m", "api.cli", "--json", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
        return done.returncode, json.loads(done.stdout)

    scratch = ("--scratch", str(tmp_path))
    status, made = run("tile", str(slide), "--out", OUT, "--mpp", "0.5", "--mpp", "1", "--tile", "64", *scratch)
    assert (status, made["store"]) == (0, f"{OUT}/{local.path.name}")
    assert set(storage.members) == {*read_manifest(local.path)["members"], "manifest.json"}
    status, found = run("verify", made["store"])
    assert (status, found["whole"], found["damaged"]) == (0, True, [])
    key = storage.shards[0]
    storage.alter(key)
    status, found = run("verify", made["store"])
    assert (status, found["damaged"]) == (1, [member_of(key)])
