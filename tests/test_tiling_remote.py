"""Tile stores in object storage, written: as on disk byte for byte, visible whole or not at all."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slides.testing import write_slide
from tiling import (
    DamagedStoreError,
    LocalPool,
    NotAStoreError,
    RemoteStoreError,
    StoreError,
    TileSpec,
    TileStore,
    bucket,
    is_committed,
    publish,
    read_manifest,
    tile,
    verify_manifest,
)
from tiling.pool import ANYWHERE, Needs, Outcome
from tools.object_server import ObjectServer, Stored, member_of, serving

SPECS = [TileSpec(0.5, px=64), TileSpec(1.0, px=64)]
OUT = "s3://bucket-of-ward-7/a prefix"
ROOT = Path(__file__).parents[1]


class Idle(LocalPool):
    """A pool that must not be asked to cut anything that is there already."""

    def outcomes(
        self, function: Callable[[Any], Any], items: Iterable[Any], _: Needs = ANYWHERE
    ) -> Iterator[Outcome[Any]]:
        del function
        assert not list(items)
        return iter(())


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


@pytest.fixture
def scratch(local: TileStore, tmp_path: Path) -> Path:
    """A folder with a store that is ready to be put into object storage."""
    shutil.copytree(local.path, tmp_path / "scratch" / local.path.name)
    return tmp_path / "scratch"


def here(store: TileStore) -> dict[str, bytes]:
    files = (path for path in store.path.rglob("*") if path.is_file())
    return {path.relative_to(store.path).as_posix(): path.read_bytes() for path in files}


def test_a_remote_store_is_the_local_one_byte_for_byte(
    storage: ObjectServer, slide: Path, local: TileStore, tmp_path: Path
) -> None:
    remote = tile(slide, SPECS, OUT, scratch=tmp_path / "scratch")
    assert storage.members == here(local)
    assert storage.put_names[-1] == "manifest.json"
    assert (remote.fingerprint, remote.info, remote.zooms) == (local.fingerprint, local.info, local.zooms)
    assert np.array_equal(remote.mask.array, local.mask.array)
    for mpp in local.zooms:
        assert np.array_equal(remote.grid(mpp).cells, local.grid(mpp).cells)
        for name in ("quality", "artefacts"):
            ours, theirs = remote.rows(mpp, name), local.rows(mpp, name)
            assert all(np.array_equal(ours[column], theirs[column]) for column in theirs)
        batches = list(remote.batches(mpp, 100)), list(local.batches(mpp, 100))
        for (index, pixels), (same_index, same_pixels) in zip(*batches, strict=True):
            assert np.array_equal(index, same_index)
            assert np.array_equal(pixels, same_pixels)
    assert verify_manifest(remote.location) == []
    assert list((tmp_path / "scratch").iterdir()) == []  # nothing stays on this machine
    with pytest.raises(StoreError, match="no folder"):
        _ = remote.path


def test_a_second_run_finds_the_store(storage: ObjectServer, remote: TileStore, slide: Path) -> None:
    storage.requests.clear()
    again = tile(slide, SPECS, OUT + "/", pool=Idle())
    assert again.fingerprint == remote.fingerprint
    assert storage.put_names == []


def test_large_members_go_in_parts(storage: ObjectServer, local: TileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket, "PART", 50_000)
    publish.upload(local.path, f"{OUT}/{local.path.name}")
    store = TileStore.open(f"{OUT}/{local.path.name}")
    assert storage.members == here(local)
    assert any(key.endswith("?") for method, key in storage.requests if method == "PUT")
    assert storage.parts == {}
    name = member_of(storage.shards[0])
    assert bucket.Bucket(store.location).stated(name) == read_manifest(store.location)["members"][name]["sha256"]


DRIVER = """
import sys
from pathlib import Path
from tiling import TileSpec, tile
tile(sys.argv[1], [TileSpec(0.5, px=64), TileSpec(1.0, px=64)], sys.argv[2], scratch=Path(sys.argv[3]))
"""


@pytest.mark.parametrize("moment", [0, 5, "manifest"])
def test_a_killed_upload_is_invisible_and_completed(
    storage: ObjectServer, slide: Path, local: TileStore, tmp_path: Path, moment: int | str
) -> None:
    """Killed when some members are there, or all but the manifest; the next run cuts nothing and sends the rest."""
    reached, dead = threading.Event(), threading.Event()

    def hold(method: str, key: str) -> bool:
        late = key.endswith("manifest.json") if moment == "manifest" else len(storage.objects) >= int(moment)
        if method != "PUT" or not late:
            return False
        reached.set()
        dead.wait(60)
        return True

    storage.refuses = hold
    process = subprocess.Popen([sys.executable, "-c", DRIVER, str(slide), OUT, str(tmp_path)], cwd=ROOT)
    try:
        assert reached.wait(60)
    finally:
        process.kill()
        process.wait()
        dead.set()
        storage.refuses = lambda _method, _key: False
    location = f"{OUT}/{local.path.name}"
    left = set(storage.members)
    assert (len(left) >= moment) if isinstance(moment, int) else left == set(here(local)) - {"manifest.json"}
    assert not is_committed(location)
    with pytest.raises(NotAStoreError, match="no committed store"):
        TileStore.open(location)
    storage.requests.clear()
    store = tile(slide, SPECS, OUT, scratch=tmp_path, pool=Idle())
    assert storage.members == here(local)
    assert set(storage.put_names) == set(here(local)) - left
    assert verify_manifest(store.location) == []


@pytest.mark.parametrize("folders", [("a", "a"), ("a", "b")])
def test_two_runs_at_once_make_one_store(
    storage: ObjectServer, slide: Path, local: TileStore, tmp_path: Path, folders: tuple[str, str]
) -> None:
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(tile, slide, SPECS, OUT, scratch=tmp_path / folder) for folder in folders]
        assert {run.result().fingerprint for run in runs} == {local.fingerprint}
    assert storage.members == here(local)
    if len(set(folders)) == 1:
        assert sorted(storage.put_names) == sorted(here(local))  # the second one waited


@pytest.mark.parametrize("left", [None, 0, -1])
def test_a_missing_or_short_member_is_damage_and_is_put_again(
    storage: ObjectServer, remote: TileStore, slide: Path, scratch: Path, left: int | None
) -> None:
    key = storage.shards[3]
    whole = storage.objects.pop(key)
    if left is not None:
        storage.objects[key] = Stored(whole.content[:left], whole.about)
    name = member_of(key)
    assert not is_committed(remote.location)
    assert verify_manifest(remote.location) == [name]
    with pytest.raises(DamagedStoreError, match="missing or cut off"):
        TileStore.open(remote.location)
    storage.requests.clear()
    tile(slide, SPECS, OUT, scratch=scratch, pool=Idle())
    assert storage.put_names == [name, "manifest.json"]
    assert storage.objects[key] == whole


def test_an_older_manifest_never_stands_above_a_mixture(
    storage: ObjectServer, remote: TileStore, slide: Path, scratch: Path
) -> None:
    manifest = f"{remote.location.removeprefix('s3://')}/manifest.json"
    other = json.loads(storage.objects[manifest].content)
    key = storage.shards[0]
    del storage.objects[key]  # so that the store is made again
    other["members"].pop(member_of(key))
    other["members"]["of an older version"] = {"bytes": 1, "sha256": ""}
    storage.objects[manifest] = Stored(json.dumps(other).encode())
    storage.requests.clear()
    seen: list[bytes] = []

    def look(method: str, asked: str) -> bool:
        if method == "PUT" and asked == key:
            seen.append(storage.members["manifest.json"])
        return False

    storage.refuses = look
    tile(slide, SPECS, OUT, scratch=scratch, pool=Idle())
    assert storage.put_names == ["manifest.json", member_of(key), "manifest.json"]
    assert seen == [b"{}"]
    assert verify_manifest(remote.location) == []


def test_a_bucket_that_may_not_be_written(storage: ObjectServer, slide: Path, local: TileStore, scratch: Path) -> None:
    storage.refuses = lambda method, key: method == "PUT" and "/tissue/" in key
    with pytest.raises(RemoteStoreError, match="refuses"):
        tile(slide, SPECS, OUT, scratch=scratch)
    assert not is_committed(f"{OUT}/{local.path.name}")
    storage.refuses = lambda _method, _key: False
    tile(slide, SPECS, OUT, scratch=scratch, pool=Idle())
    assert storage.members == here(local)


def test_a_bucket_that_cannot_be_listed_is_known_before_the_work(
    storage: ObjectServer, slide: Path, tmp_path: Path
) -> None:
    storage.refuses = lambda method, key: method == "GET" and key == "bucket-of-ward-7"
    with pytest.raises(RemoteStoreError):
        tile(slide, SPECS, OUT, scratch=tmp_path, pool=Idle())
    assert list(tmp_path.iterdir()) == []


def test_a_staging_store_that_was_damaged_is_not_sent(storage: ObjectServer, local: TileStore, scratch: Path) -> None:
    waiting = scratch / local.path.name
    shard = next(path for path in (waiting / "zooms/0.5/pixels/c").rglob("*") if path.is_file())
    shard.write_bytes(bytes(shard.stat().st_size))
    with pytest.raises(DamagedStoreError, match="on this machine"):
        publish.upload(waiting, f"{OUT}/{local.path.name}")
    assert "manifest.json" not in storage.members


def test_nobody_else_can_prepare_the_staging_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert publish._own_folder().stat().st_mode & 0o777 == 0o700
    publish._own_folder().chmod(0o777)
    with pytest.raises(StoreError, match="somebody else"):
        publish._own_folder()


def test_a_member_of_other_bytes_is_put_again(
    storage: ObjectServer, remote: TileStore, slide: Path, scratch: Path
) -> None:
    """Of the same size, as an older version may have left it; one that does not say what it holds, too."""
    first, second, third = storage.shards[:3]
    size = len(storage.objects[first].content)
    storage.objects[first] = Stored(bytes(size), {"x-amz-meta-sha256": hashlib.sha256(bytes(size)).hexdigest()})
    storage.objects[second] = Stored(storage.objects[second].content)
    del storage.objects[third]  # so that the store is not whole
    storage.requests.clear()
    tile(slide, SPECS, OUT, scratch=scratch, pool=Idle())
    assert sorted(storage.put_names) == sorted(["manifest.json", *map(member_of, (first, second, third))])
    assert verify_manifest(remote.location) == []
