"""The tile store: right pixels, the same on every pool, whole or absent, damage found."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from slides import Address, MissingMppError, Region, open_slide
from slides.testing import write_slide
from tiling import (
    DamagedStoreError,
    LocalPool,
    NotAStoreError,
    NoTissueError,
    StoreError,
    TileSpec,
    TileStore,
    is_committed,
    read_manifest,
    staged,
    tile,
    verify_manifest,
)
from tiling.cluster import DaskPool

ZOOMS = [TileSpec(0.5), TileSpec(1.0), TileSpec(2.0)]


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slide(tmp_path_factory.mktemp("slide") / "s.svs", size=(2400, 1800), seed=1)


@pytest.fixture(scope="module")
def raw(slide: Path, tmp_path_factory: pytest.TempPathFactory) -> TileStore:
    return tile(slide, ZOOMS, tmp_path_factory.mktemp("raw"), keep="raw")


def pixels_of(store: TileStore, mpp: float, address: Path | None = None) -> NDArray[np.uint8]:
    grid = store.grid(mpp)
    result = np.zeros((len(grid), grid.spec.px, grid.spec.px, 3), np.uint8)
    seen = np.zeros(len(grid), int)
    for index, tiles in store.batches(mpp, 7, None if address is None else Address.of(address)):
        result[index] = tiles
        seen[index] += 1
    assert (seen == 1).all()
    return result


def test_stored_tiles_are_the_slides_pixels(slide: Path, raw: TileStore) -> None:
    grid = raw.grid(0.5)
    stored = pixels_of(raw, 0.5)
    with open_slide(slide) as opened:
        for pixels, (x, y) in zip(stored, grid.coords.tolist(), strict=True):
            assert np.array_equal(pixels, opened.read(Region(x, y, 224, 224)))


def test_a_coarse_tile_is_the_average_of_its_children(slide: Path, raw: TileStore) -> None:
    coarse = pixels_of(raw, 1.0)
    with open_slide(slide) as opened:
        for pixels, (x, y) in zip(coarse, raw.grid(1.0).coords.tolist(), strict=True):
            exact = cv2.resize(opened.read(Region(x, y, 448, 448)), (224, 224), interpolation=cv2.INTER_AREA)
            assert np.array_equal(pixels, exact)


@pytest.mark.parametrize("mpp", [0.5, 1.0, 2.0])
def test_tiles_cut_afresh_equal_stored_ones(slide: Path, raw: TileStore, tmp_path: Path, mpp: float) -> None:
    fresh = tile(slide, ZOOMS, tmp_path, keep="no")
    assert np.array_equal(pixels_of(fresh, mpp, slide), pixels_of(raw, mpp))


def test_jpeg_tiles_are_close_and_small(slide: Path, raw: TileStore, tmp_path: Path) -> None:
    jpeg = tile(slide, ZOOMS, tmp_path)
    difference = pixels_of(jpeg, 0.5).astype(float) - pixels_of(raw, 0.5)
    assert 10 * np.log10(255**2 / (difference**2).mean()) > 33
    sizes = [sum(m["bytes"] for m in read_manifest(store.path)["members"].values()) for store in (jpeg, raw)]
    assert sizes[0] < sizes[1] / 3


def test_the_store_is_the_same_on_every_pool(slide: Path, raw: TileStore, tmp_path: Path) -> None:
    with LocalPool(1) as pool:
        one = tile(slide, ZOOMS, tmp_path / "one", pool=pool, keep="raw")
    with DaskPool(workers=2) as dask:
        many = tile(slide, ZOOMS, tmp_path / "many", pool=dask, keep="raw")
    members = [read_manifest(store.path)["members"] for store in (raw, one, many)]
    assert members[0] == members[1] == members[2]


def test_other_programs_read_the_store_as_an_image(raw: TileStore) -> None:
    group: Any = zarr.open_group(raw.path / "zooms", mode="r")
    ome: Any = group.attrs["ome"]
    (image,) = ome["multiscales"]
    assert [axis["name"] for axis in image["axes"]] == ["c", "y", "x"]
    for dataset, mpp in zip(image["datasets"], (0.5, 1.0, 2.0), strict=True):
        assert dataset["coordinateTransformations"][0]["scale"] == [1.0, mpp, mpp]
        assert group[dataset["path"]].shape[0] == 3


def test_a_second_run_reuses_the_store(slide: Path, raw: TileStore) -> None:
    before = (raw.path / "manifest.json").stat().st_mtime_ns
    again = tile(slide, ZOOMS, raw.path.parent, keep="raw")
    assert again.fingerprint == raw.fingerprint
    assert (raw.path / "manifest.json").stat().st_mtime_ns == before


def test_fingerprints_follow_what_is_asked(slide: Path, raw: TileStore, tmp_path: Path) -> None:
    others = [
        tile(slide, ZOOMS, tmp_path, keep="no"),
        tile(slide, [TileSpec(0.5)], tmp_path, keep="no"),
        tile(slide, [TileSpec(0.5, min_tissue=0.5)], tmp_path, keep="no"),
        tile(Address.of(slide, 0.49), [TileSpec(0.5)], tmp_path, keep="no"),
    ]
    assert len({store.fingerprint for store in [raw, *others]}) == 5


def test_nothing_is_left_of_a_slide_that_cannot_be_tiled(tmp_path: Path) -> None:
    with pytest.raises(NoTissueError):
        tile(write_slide(tmp_path / "s.svs", kind="glass"), ZOOMS, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["s.svs"]


def test_no_scale_no_store(tmp_path: Path) -> None:
    with pytest.raises(MissingMppError):
        tile(write_slide(tmp_path / "s.svs", mpp=None), ZOOMS, tmp_path / "out")


def test_nothing_of_the_name_or_header_is_in_the_store(tmp_path: Path) -> None:
    store = tile(write_slide(tmp_path / "CANARY_NAME.svs"), ZOOMS, tmp_path / "out")
    files = [path for path in store.path.rglob("*") if path.is_file()]
    assert not [path for path in files if b"CANARY" in path.read_bytes() or b"Aperio Image" in path.read_bytes()]


def test_another_slide_at_the_address_is_refused(slide: Path, tmp_path: Path) -> None:
    store = tile(slide, ZOOMS, tmp_path, keep="no")
    other = write_slide(tmp_path / "other.svs", seed=9)
    with pytest.raises(StoreError, match="not the one"):
        next(store.batches(0.5, 8, Address.of(other)))
    with pytest.raises(NotAStoreError, match="address"):
        store.batches(0.5, 8)


def test_every_flipped_bit_is_found(slide: Path, tmp_path: Path) -> None:
    store = tile(slide, ZOOMS, tmp_path)
    assert verify_manifest(store.path) == []
    rng = np.random.default_rng(0)
    members = sorted(path for path in store.path.rglob("*") if path.is_file())
    for _ in range(60):
        path = members[rng.integers(len(members))]
        content = bytearray(path.read_bytes())
        at = rng.integers(len(content))
        content[at] ^= 1 << int(rng.integers(8))
        whole = path.read_bytes()
        path.write_bytes(content)
        try:
            damaged = verify_manifest(store.path)
        except NotAStoreError:
            damaged = ["manifest.json"]
        assert damaged == [path.relative_to(store.path).as_posix()]
        path.write_bytes(whole)
    assert verify_manifest(store.path) == []


def test_a_missing_member_is_never_read_as_empty(slide: Path, tmp_path: Path) -> None:
    store = tile(slide, ZOOMS, tmp_path)
    next((store.path / "zooms" / "0.5" / "pixels" / "c").rglob("*")).touch()
    shard = next(
        path
        for path in (store.path / "zooms" / "0.5" / "pixels").rglob("*")
        if path.is_file() and path.name != "zarr.json"
    )
    shard.unlink()
    assert not is_committed(store.path)
    with pytest.raises(DamagedStoreError, match="missing"):
        TileStore.open(store.path)
    assert len(tile(slide, ZOOMS, tmp_path).grid(0.5)) == len(store.grid(0.5))  # made anew


def test_a_foreign_folder_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(NotAStoreError):
        TileStore.open(tmp_path)
    with staged(tmp_path / "x", kind="something else") as folder:
        (folder / "a").write_text("a")
    with pytest.raises(NotAStoreError):
        TileStore.open(tmp_path / "x")


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with staged(tmp_path / "x") as folder:
            (folder / "a").write_text("a")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_the_first_of_two_runs_wins(tmp_path: Path) -> None:
    with staged(tmp_path / "x") as slow:
        (slow / "a").write_text("slow")
        with staged(tmp_path / "x") as quick:
            (quick / "a").write_text("quick")
    assert (tmp_path / "x" / "a").read_text() == "quick"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


DRIVER = """
import sys
from tiling import TileSpec, tile
tile(sys.argv[1], [TileSpec(0.5), TileSpec(1.0), TileSpec(2.0)], __import__("pathlib").Path(sys.argv[2]))
"""


def test_a_killed_run_is_never_seen_as_whole(slide: Path, tmp_path: Path) -> None:
    """Kill the driver at twelve moments while reading: a store is absent or whole; a later run completes it."""
    whole = tile(slide, ZOOMS, tmp_path / "reference")
    final = tmp_path / "out" / whole.path.name
    for moment in range(12):
        process = subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(slide), str(tmp_path / "out")], cwd=Path(__file__).parents[1]
        )
        end = time.monotonic() + 0.9 + moment * 0.12
        while time.monotonic() < end and process.poll() is None:
            if final.exists():
                assert read_manifest(final)["members"] == read_manifest(whole.path)["members"]
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL) if process.poll() is None else None
        process.wait()
        if final.exists():
            assert verify_manifest(final) == []
    completed = tile(slide, ZOOMS, tmp_path / "out")
    assert json.loads((completed.path / "manifest.json").read_text()) == json.loads(
        (whole.path / "manifest.json").read_text()
    )
