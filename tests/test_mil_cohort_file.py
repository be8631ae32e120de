"""Files of bags: what is written is read back, a slide at a time, packed or not; what no head can use is refused."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mil import Bag, BagError, EmptyBagError
from mil.cohort import archive, rows
from mil.cohort.bags_file import BagsFile
from mil.cohort.write import write_bags
from mil.errors import CohortError

Arrays = NDArray[Any] | None
SIZES = (3, 1, 7, 40)


def bag(row: int, size: int, encoder: str = "", mpp: tuple[float, ...] = (), label: float | None = None) -> Bag:
    """A bag whose features are told apart by slide and tile, exactly in half precision."""
    features = np.stack([np.full(size, row), np.arange(size), np.ones(size)], axis=1).astype(np.float32)
    coords = np.stack([np.arange(size) * 256, np.full(size, row)], axis=1).astype(np.int64)
    return Bag(f"s{row}", features, coords, label, None, mpp, encoder)


def bags(encoder: str = "", mpp: tuple[float, ...] = (), label: float | None = None) -> list[Bag]:
    return [bag(row, size, encoder, mpp, label) for row, size in enumerate(SIZES)]


def plain(**changes: Arrays) -> dict[str, NDArray[Any]]:
    """Arrays of a file of bags as a researcher saves them, two slides of 2 and 3 tiles."""
    arrays: dict[str, Arrays] = {
        "features": np.arange(20, dtype=np.float32).reshape(5, 4),
        "offsets": np.array([0, 2, 5]),
        "slide_id": np.array(["a", "b"]),
    }
    arrays.update(changes)
    return {name: array for name, array in arrays.items() if array is not None}


def save(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    with zipfile.ZipFile(path, "w") as file:
        for name, array in arrays.items():
            with file.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, array)


@pytest.mark.parametrize("small", [0, archive.SMALL], ids=["large", "small"])
@pytest.mark.parametrize("pack", [True, False])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_what_is_written_is_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, pack: bool, small: int, dtype: Literal["float16", "float32"]
) -> None:
    monkeypatch.setattr(rows, "SMALL", small)
    made = bags(encoder="e@1", mpp=(0.5, 2.0), label=1.0)
    write_bags(tmp_path / "b.npz", made, dtype, pack=pack)
    found = BagsFile(tmp_path / "b.npz")
    assert (found.ids, found.encoder, found.mpp) == (("s0", "s1", "s2", "s3"), "e@1", (0.5, 2.0))
    assert found.labels == ("1.0",) * 4
    assert (found.sizes.tolist(), found.width) == (list(SIZES), 3)
    for row, each in enumerate(made):
        np.testing.assert_array_equal(found.features(row), each.features)
        np.testing.assert_array_equal(found.coords(row), each.coords)
    np.testing.assert_array_equal(found.features(3, np.array([0, 5, 39])), made[3].features[[0, 5, 39]])
    assert found.features(3, np.zeros(0, np.int64)).shape == (0, 3)
    assert found.features(0).dtype == np.float32
    assert not list(tmp_path.glob(".*"))


def test_numpy_reads_what_is_written(tmp_path: Path) -> None:
    write_bags(tmp_path / "b.npz", bags())
    with np.load(tmp_path / "b.npz", allow_pickle=False) as found:
        assert sorted(found.files) == ["coords", "features", "offsets", "slide_id"]
        np.testing.assert_array_equal(found["features"][3:4], bags()[1].features)


def test_the_fingerprint_is_of_the_content_and_not_of_the_packing(tmp_path: Path) -> None:
    write_bags(tmp_path / "a.npz", bags())
    write_bags(tmp_path / "b.npz", bags(), pack=True)
    other = bags()
    other[3].features[39, 2] = 2
    write_bags(tmp_path / "c.npz", other)
    write_bags(tmp_path / "d.npz", [*bags()[:3], replace(bags()[3], id="s5")])
    found = [BagsFile(tmp_path / f"{name}.npz").fingerprint for name in "abcd"]
    assert found[0] == found[1]
    assert len(set(found)) == 3
    assert len(found[0]) == 64


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.booleans(), min_size=100, max_size=100), st.integers(1, 3), st.integers(1, 400))
def test_any_tiles_are_found_wherever_the_reads_are_cut(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, tiles: list[bool], gap: int, piece: int
) -> None:
    path = tmp_path_factory.mktemp("b") / "b.npz"
    np.savez(path, features=np.arange(200, dtype=np.float32).reshape(100, 2), offsets=np.array([0, 100]))
    monkeypatch.setattr(rows, "GAP", gap * 8)
    monkeypatch.setattr(rows, "PIECE", piece * 8)
    monkeypatch.setattr(rows, "SMALL", 0)
    wanted = np.flatnonzero(tiles)
    np.testing.assert_array_equal(BagsFile(path).features(0, wanted)[:, 0], wanted * 2)


def test_a_large_packed_file_is_unpacked_aside_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bags(tmp_path / "b.npz", bags(), pack=True)
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(rows, "SMALL", 16)
    found = BagsFile(tmp_path / "b.npz", tmp_path / "scratch")
    np.testing.assert_array_equal(found.features(2), bags()[2].features)
    assert not list((tmp_path / "scratch").iterdir())


def test_without_room_to_unpack_there_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bags(tmp_path / "b.npz", bags(), pack=True)
    monkeypatch.setattr(rows, "SMALL", 16)
    with pytest.raises(CohortError, match="no room"):
        BagsFile(tmp_path / "b.npz", tmp_path / "missing")


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    write_bags(
        tmp_path / "b.npz",
        (Bag(str(n), np.ones((4000, 512), np.float32), np.zeros((4000, 2), np.int64)) for n in range(24)),
    )
    code = (
        "import sys, resource; from pathlib import Path; from mil.cohort import rows\n"
        "from mil.cohort.bags_file import BagsFile; rows.SMALL = 0\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "begin = peak(); b = BagsFile(Path(sys.argv[1])); b.fingerprint\n"
        "for row in range(24): b.features(row)\n"
        "print(peak() - begin)"
    )
    run = subprocess.run([sys.executable, "-c", code, tmp_path / "b.npz"], capture_output=True, check=True, text=True)
    assert (tmp_path / "b.npz").stat().st_size > 95e6
    assert int(run.stdout) < 60_000  # KB: a few slides of 8 MB in float32 and the pieces that are hashed


def test_columns_first_is_read_as_numpy_reads_it(tmp_path: Path) -> None:
    save(tmp_path / "b.npz", plain(features=np.asfortranarray(plain()["features"])))
    np.testing.assert_array_equal(BagsFile(tmp_path / "b.npz").features(1), plain()["features"][2:])


def test_columns_first_is_refused_where_it_cannot_be_turned_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "b.npz", plain(features=np.ones((5, 40), np.float32, order="F")))
    monkeypatch.setattr(archive, "SMALL", 700)
    with pytest.raises(CohortError, match="features takes 800 bytes"):
        BagsFile(tmp_path / "b.npz")


def test_who_changes_what_was_read_does_not_change_what_is_read_next(tmp_path: Path) -> None:
    save(tmp_path / "b.npz", plain())
    found = BagsFile(tmp_path / "b.npz")
    found.features(0)[:] = 9
    found.features(0, np.array([1]))[:] = 9
    assert found.features(0).tolist() == plain()["features"][:2].tolist()


def test_what_the_file_does_not_say_is_empty(tmp_path: Path) -> None:
    save(tmp_path / "b.npz", plain(slide_id=None))
    found = BagsFile(tmp_path / "b.npz")
    assert (found.ids, found.encoder, found.mpp, found.labels) == (("0", "1"), "", (), None)
    assert found.coords(1).tolist() == [[0, 0], [1, 0], [2, 0]]


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"features": None}, CohortError, "no array features"),
        ({"features": np.ones(5, np.float32)}, CohortError, "dimensions"),
        ({"features": np.ones((5, 4))}, CohortError, "float16 or float32"),
        ({"features": np.ones((5, 4), ">f4")}, CohortError, "another type"),
        ({"features": np.ones((5, 4), np.int32)}, CohortError, "another type"),
        ({"features": np.ones((5, 4), object)}, CohortError, "another type|damaged"),
        ({"features": np.ones((5, 0), np.float32)}, CohortError, "numbers a tile"),
        ({"offsets": np.array([0, 2, 4])}, CohortError, "end with the number of tiles, 5"),
        ({"offsets": np.array([1, 2, 5])}, CohortError, "begin with 0"),
        ({"offsets": np.array([0.0, 2.0, 5.0])}, CohortError, "another type"),
        ({"offsets": np.array([0, 4, 2, 5]), "slide_id": np.array(["a", "b", "c"])}, CohortError, "at slide 1 "),
        ({"offsets": np.array([0, 5, 5])}, EmptyBagError, "Slide 1 .* no tile"),
        ({"offsets": np.array([0])}, CohortError, "begin with 0"),
        ({"slide_id": np.array(["a", "a"])}, CohortError, "Slides 0 and 1 .* same name"),
        ({"slide_id": np.array(["a", ""])}, CohortError, "name of slide 1"),
        ({"slide_id": np.array(["a", "b\n"])}, CohortError, "name of slide 1"),
        ({"slide_id": np.array(["a"])}, CohortError, "names 1 slides"),
        ({"slide_id": np.array(["a", "b"], object)}, CohortError, "another type|damaged"),
        ({"encoder": np.array(["x", "y"])}, BagError, "Slide 1 .* another encoder"),
        ({"encoder": np.array(["x"])}, CohortError, "one text"),
        ({"mpp": np.array([2.0, 0.5])}, CohortError, "finest first"),
        ({"mpp": np.array(np.nan)}, CohortError, "positive"),
        ({"label": np.array([1])}, CohortError, "1 labels"),
        ({"coords": np.zeros((4, 2), np.int64)}, CohortError, r"\(5, 2\)"),
    ],
)
def test_what_cannot_be_used_is_refused_and_named(
    tmp_path: Path, changes: dict[str, Arrays], error: type[Exception], words: str
) -> None:
    save(tmp_path / "b.npz", plain(**changes))
    with pytest.raises(error, match=words):
        BagsFile(tmp_path / "b.npz")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("tiles", [None, np.array([1, 2])])
def test_a_number_that_is_none_is_named_by_slide_and_tile(tmp_path: Path, value: float, tiles: Arrays) -> None:
    features = plain()["features"]
    features[4, 3] = value
    save(tmp_path / "b.npz", plain(features=features))
    assert BagsFile(tmp_path / "b.npz").features(1, np.array([0, 1])).shape == (2, 4)
    with pytest.raises(BagError, match="Tile 2 of slide 1 "):
        BagsFile(tmp_path / "b.npz").features(1, tiles)


def test_tiles_that_are_not_there_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "b.npz", plain())
    for tiles in ([2], [-1]):
        with pytest.raises(BagError, match="has 2 tiles"):
            BagsFile(tmp_path / "b.npz").features(0, np.array(tiles))


def mixed() -> Iterator[Bag]:
    yield bag(0, 2, encoder="x")
    yield bag(1, 2, encoder="y")


@pytest.mark.parametrize(
    ("made", "error", "words"),
    [
        (mixed, BagError, "Bag 1 .* another encoder"),
        (lambda: [bag(0, 2), bag(0, 2)], CohortError, "Slides 0 and 1"),
        (list, BagError, "no bag"),
        (lambda: [Bag("a", np.full((1, 1), 1e6, np.float32), np.zeros((1, 2), np.int64))], BagError, "Bag 0 .* large"),
    ],
)
def test_what_cannot_be_written_leaves_no_file(
    tmp_path: Path, made: Callable[[], Iterable[Bag]], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        write_bags(tmp_path / "b.npz", made())
    assert not list(tmp_path.iterdir())
