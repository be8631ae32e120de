"""What dies, fills up or runs beside it: the small versions of `proofs/prove_tiling_faults.py`, and resuming."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray

from slides.testing import write_slide
from tiling import LocalPool, NoSpaceError, TileSpec, read_manifest, tile, verify_manifest
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
    root = broken_off(slide, tmp_path, 3)
    before = {path.name: path.stat().st_mtime_ns for path in (root / "bands").iterdir()}
    assert len(before) == 3
    written: list[str] = []
    record = Staging.record

    def note(self: Staging, band: str, rows: dict[str, NDArray[Any]], members: dict[str, dict[str, int | str]]) -> None:
        written.append(band)
        record(self, band, rows, members)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Staging, "record", note)
        store = tile(slide, SPECS, tmp_path)
    assert not {f"{name}.npz" for name in written} & set(before)
    assert len(written) > 3
    assert read_manifest(store.path) == read_manifest(whole)
    assert [path.name for path in tmp_path.iterdir()] == [store.path.name]


def test_a_file_that_a_power_cut_took_is_made_again(slide: Path, whole: Path, tmp_path: Path) -> None:
    root = broken_off(slide, tmp_path, 3)
    shards = [path for path in (root / "store").rglob("c/0/*/*") if path.is_file() and "pixels" in path.parts]
    shards[0].unlink()
    shards[1].write_bytes(shards[1].read_bytes()[:-7])
    assert read_manifest(tile(slide, SPECS, tmp_path).path) == read_manifest(whole)


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
    assert not disturbed(make_slides(tmp_path / "slides", 2), tmp_path, 6, bug=bug).is_clean
