"""What dies, fills up or runs beside it: the small versions of `proofs/prove_tiling_faults.py`, and resuming."""

from __future__ import annotations

import errno
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from numpy.typing import NDArray

from slides import DamagedSlideError
from slides.testing import write_slide
from tiling import LocalPool, NoSpaceError, StoreError, TileSpec, read_manifest, tile, verify_manifest
from tiling.lock import locked
from tiling.pool import ANYWHERE, Needs
from tiling.staging import Staging, resumable
from tools.kill_tiling import BUGS, disturbed, make_slides
from tools.tiling_faults import grow_disk, run_together, small_disk

SPECS = [TileSpec(0.5, px=64), TileSpec(1.0, px=64)]


class InterruptedRunError(Exception):
    """The work was broken off."""


class Counting(LocalPool):
    """A pool that counts its calls and breaks off after some."""

    def __init__(self, most: int = 10**9) -> None:
        super().__init__(1)
        self.calls, self.most = 0, most

    def map(self, function: Callable[[Any], Any], items: Iterable[Any], _: Needs = ANYWHERE) -> Iterator[Any]:
        for item in items:
            if self.calls == self.most:
                raise InterruptedRunError
            self.calls += 1
            yield function(item)


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slide(tmp_path_factory.mktemp("slide") / "s.svs", size=(6000, 4000), seed=2)


@pytest.fixture(scope="module")
def whole(slide: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tile(slide, SPECS, tmp_path_factory.mktemp("whole")).path


def broken_off(slide: Path, out: Path, after: int) -> Path:
    with pytest.raises(InterruptedRunError):
        tile(slide, SPECS, out, pool=Counting(after))
    assert list(out.glob("*.zarr")) == []
    (root,) = out.glob(".*.staging")
    return root


def test_a_run_that_was_broken_off_goes_on_where_it_was(slide: Path, whole: Path, tmp_path: Path) -> None:
    root = broken_off(slide, tmp_path, 2)
    before = {path.name: path.stat().st_mtime_ns for path in (root / "bands").iterdir()}
    assert len(before) == 2
    written: list[str] = []
    record = Staging.record

    def note(self: Staging, band: str, rows: dict[str, NDArray[Any]], members: dict[str, dict[str, int | str]]) -> None:
        written.append(band)
        record(self, band, rows, members)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Staging, "record", note)
        store = tile(slide, SPECS, tmp_path)
    assert not {f"{name}.npz" for name in written} & set(before)
    assert len(written) > 1
    assert read_manifest(store.path) == read_manifest(whole)
    assert [path.name for path in tmp_path.iterdir()] == [store.path.name]


def test_a_file_that_a_power_cut_took_is_made_again(slide: Path, whole: Path, tmp_path: Path) -> None:
    root = broken_off(slide, tmp_path, 3)
    shards = [path for path in (root / "store").rglob("c/0/*/*") if path.is_file() and "pixels" in path.parts]
    shards[0].unlink()
    shards[1].write_bytes(shards[1].read_bytes()[:-7])
    assert read_manifest(tile(slide, SPECS, tmp_path).path) == read_manifest(whole)


@pytest.mark.parametrize("lost", ["mask/c", "zooms/0.5/tissue/c", "zooms/1/coords/c", "zarr.json", "zooms/1/zarr.json"])
@pytest.mark.parametrize("how", ["gone", "empty"])
def test_what_a_power_cut_took_of_the_layout_is_made_again(
    slide: Path, whole: Path, tmp_path: Path, lost: str, how: str
) -> None:
    """A chunk that is missing would read as zeros, and the manifest would say that this is how it was."""
    root = broken_off(slide, tmp_path, 1)
    target = root / "store" / lost
    for path in [target] if target.is_file() else [path for path in target.rglob("*") if path.is_file()]:
        path.write_bytes(b"") if how == "empty" else path.unlink()
    assert read_manifest(tile(slide, SPECS, tmp_path).path) == read_manifest(whole)


def test_a_layout_whose_record_is_missing_is_made_again(slide: Path, whole: Path, tmp_path: Path) -> None:
    root = broken_off(slide, tmp_path, 1)
    (root / "laid_out.npz").unlink()
    assert read_manifest(tile(slide, SPECS, tmp_path).path) == read_manifest(whole)


def test_another_slide_under_the_same_name_is_noticed(slide: Path, tmp_path: Path) -> None:
    mine = Path(shutil.copy(slide, tmp_path / "mine.svs"))
    other = write_slide(tmp_path / "other.svs", size=(6000, 4000), seed=99)

    class Swapping(Counting):
        """Another slide is put in its place before the first band is cut."""

        def map(self, function: Callable[[Any], Any], items: Iterable[Any], needs: Needs = ANYWHERE) -> Iterator[Any]:
            other.replace(mine)
            yield from super().map(function, items, needs)

    with pytest.raises(StoreError, match="not the one"):
        tile(mine, SPECS, tmp_path / "out", pool=Swapping())
    assert list((tmp_path / "out").glob("*.zarr")) == []


def test_a_slide_that_breaks_while_others_write_can_be_tiled_later(slide: Path, whole: Path, tmp_path: Path) -> None:
    """Bands in flight must not bring a folder back that was thrown away."""
    place, broken = Staging.place, threading.Event()

    def fail_once(self: Staging, member: str, write: Callable[[Path], Any]) -> Any:  # noqa: ANN401 - as `place`
        if not broken.is_set():
            broken.set()
            msg = "the tile cannot be decoded"
            raise DamagedSlideError(msg)
        time.sleep(0.05)
        return place(self, member, write)

    with pytest.MonkeyPatch.context() as patch, LocalPool(4) as pool:
        patch.setattr(Staging, "place", fail_once)
        with pytest.raises(DamagedSlideError):
            tile(slide, SPECS, tmp_path, pool=pool)
    assert read_manifest(tile(slide, SPECS, tmp_path).path) == read_manifest(whole)


def test_what_a_run_left_that_was_killed_after_its_commit_is_swept_away(slide: Path, tmp_path: Path) -> None:
    store = tile(slide, SPECS, tmp_path)
    left = tmp_path / f".{store.path.name}.0123456789ab.staging"
    (left / "bands").mkdir(parents=True)
    (tmp_path / f".{store.path.name}.lock").touch()
    tile(slide, SPECS, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [store.path.name]


def test_a_run_without_a_lock_leaves_that_of_another_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lock"
    with locked(path) as first:
        with monkeypatch.context() as patch:
            patch.setattr("fcntl.flock", Mock(side_effect=OSError(errno.ENOLCK, "no locks")))
            with locked(path) as second:
                assert (first, second) == (True, False)
        with pytest.raises(BlockingIOError), locked(path, wait=False):
            pass


def test_what_another_plan_left_behind_is_not_used(tmp_path: Path) -> None:
    with resumable(tmp_path / "x", "a" * 64) as staging:
        staging.prepare(lambda folder: (folder / "old").touch())
    with resumable(tmp_path / "x", "b" * 64) as staging:
        staging.prepare(lambda folder: (folder / "new").touch())
        assert [path.name for path in staging.store.iterdir()] == ["new"]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_disk_that_is_full(slide: Path, whole: Path, tmp_path: Path) -> None:
    try:
        with small_disk(tmp_path / "disk", 1.5) as disk:
            with pytest.raises(NoSpaceError):
                tile(slide, SPECS, disk / "out")
            assert list((disk / "out").glob("*.zarr")) == []
            grow_disk(disk, 64)
            store = tile(slide, SPECS, disk / "out")
            assert read_manifest(store.path) == read_manifest(whole)
            assert verify_manifest(store.path) == []
    except PermissionError:
        pytest.skip("a file system of its own takes a privileged user")


def test_two_runs_at_once_make_one_store(slide: Path, tmp_path: Path) -> None:
    assert run_together(slide, tmp_path, 2) == [0, 0]
    (path,) = tmp_path.iterdir()
    assert verify_manifest(path) == []


def test_nothing_is_lost_or_half_done_whatever_is_killed(tmp_path: Path) -> None:
    verdict = disturbed(make_slides(tmp_path / "slides", 3), tmp_path, 6)
    assert verdict.is_clean, verdict


@pytest.mark.parametrize("bug", BUGS)
def test_the_killing_notices_a_planted_bug(tmp_path: Path, bug: str) -> None:
    verdict = disturbed(make_slides(tmp_path / "slides", 2), tmp_path, 6, bug=bug)
    assert verdict.partial > 0
