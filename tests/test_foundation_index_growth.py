"""The index as a store: it grows and shrinks whole or not at all, knows what it holds, and says what is damaged."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from foundation import Embeddings
from foundation.errors import ContractError, EmbeddingsError, IndexStoreError, QueryError
from foundation.index import (
    IndexSlide,
    SearchIndex,
    by_slide,
    by_vector,
    grow,
    remove,
    search,
    verify_index,
)
from foundation.index import growing as growing_module
from foundation.index.catalogue import write_catalogue
from foundation.testing import write_embeddings
from tiling.lock import locked

TINY = {"key": "tiny", "family": "f", "weights_digest": "w", "preprocessing_digest": "p"}


def slide(
    folder: Path, number: int, encoder: dict[str, Any] = TINY, dim: int = 8, columns: dict[str, str] | None = None
) -> IndexSlide:
    rows = np.random.default_rng(number).normal(size=(12 + number, dim))
    made = write_embeddings(folder, {0.5: rows, 1.0: rows[:3]}, encoder, content=f"{number:064x}")
    return IndexSlide(f"S-{number}", made.path, columns or {"grade": str(number % 3)})


def content(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> list[IndexSlide]:
    folder = tmp_path_factory.mktemp("e")
    return [slide(folder, number) for number in (1, 2, 3)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, slides: list[IndexSlide]) -> Path:
    path = tmp_path_factory.mktemp("i") / "i"
    grow(path, slides)
    return path


@pytest.fixture
def index(tmp_path: Path, made: Path) -> Path:
    """One to break."""
    shutil.copytree(made, tmp_path / "i")
    return tmp_path / "i"


def test_an_index_grows_by_slides_and_what_is_there_costs_nothing(tmp_path: Path, slides: list[IndexSlide]) -> None:
    path = tmp_path / "i"
    assert [(o.slide, o.state, o.tiles) for o in grow(path, slides[:2])] == [("S-1", "added", 13), ("S-2", "added", 14)]
    with patch.object(growing_module, "_write", side_effect=AssertionError):
        assert [o.state for o in grow(path, slides[:2])] == ["unchanged", "unchanged"]
    assert SearchIndex.open(path).catalogue.generation == 1
    assert [o.state for o in grow(path, slides[1:])] == ["unchanged", "added"]
    opened = SearchIndex.open(path)
    assert (len(opened), opened.catalogue.mpp, opened.catalogue.dim) == (42, 0.5, 8)
    assert [entry.slide for entry in opened.entries] == ["S-1", "S-2", "S-3"]
    for number, one in enumerate(slides):
        features = Embeddings.open(one.embeddings).features(0.5).astype(np.float32)
        rows = opened.rows(np.arange(opened.offsets[number], opened.offsets[number + 1]))
        assert np.allclose(rows, features / np.linalg.norm(features, axis=1, keepdims=True), atol=1e-3)
    assert verify_index(path) == []


def test_new_columns_of_a_slide_need_no_new_rows(index: Path, slides: list[IndexSlide]) -> None:
    changed = [IndexSlide(slides[0].slide, slides[0].embeddings, {"grade": "9", "site": "B"}), *slides[1:]]
    with patch.object(growing_module, "_write", side_effect=AssertionError):
        assert {o.state for o in grow(index, changed)} == {"unchanged"}
    opened = SearchIndex.open(index)
    assert opened.columns == ("slide", "grade", "site")
    assert opened.select({"grade": {"9"}}) == (0,)


def test_new_features_of_a_slide_replace_the_old(index: Path, tmp_path: Path) -> None:
    rows = np.random.default_rng(77).normal(size=(5, 8))
    made = write_embeddings(tmp_path / "new", {0.5: rows}, TINY, content=f"{2:064x}")
    (outcome,) = grow(index, [IndexSlide("S-2", made.path)])
    assert (outcome.state, outcome.tiles) == ("replaced", 5)
    assert [entry.tiles for entry in SearchIndex.open(index).entries] == [13, 5, 15]
    assert len(list((index / "segments").iterdir())) == 3


def test_slides_are_removed_with_their_rows(index: Path, slides: list[IndexSlide]) -> None:
    before = content(index)
    with pytest.raises(QueryError, match="no slide 'S-9'; nothing was removed"):
        remove(index, {"S-1", "S-9"})
    assert content(index) == before
    remove(index, {"S-2"})
    opened = SearchIndex.open(index)
    assert [entry.slide for entry in opened.entries] == ["S-1", "S-3"]
    assert len(list((index / "segments").iterdir())) == 2
    assert verify_index(index) == []
    assert search(opened, by_slide(opened, "S-3"), 28, where={"grade": {"0", "1"}}).searched["tiles"] == 28
    assert [o.state for o in grow(index, slides)] == ["unchanged", "added", "unchanged"]
    remove(index, {"S-1", "S-2", "S-3"})
    assert len(SearchIndex.open(index)) == 0
    with pytest.raises(QueryError, match="The index holds no slides"):
        search(SearchIndex.open(index), by_vector(SearchIndex.open(index), np.ones(8)))


def test_one_bad_slide_does_not_hide_the_others(tmp_path: Path, slides: list[IndexSlide]) -> None:
    other = slide(tmp_path / "o", 4, {**TINY, "weights_digest": "other"})
    lost = IndexSlide("S-5", tmp_path / "none")
    coarse = write_embeddings(tmp_path / "c", {1.0: np.eye(8)}, TINY, content="c" * 64)
    twin = IndexSlide("S-7", slides[0].embeddings)
    namesake = IndexSlide("S-2", slides[2].embeddings)
    given = [slides[0], other, lost, IndexSlide("S-6", coarse.path), twin, slides[1], namesake]
    outcomes = grow(tmp_path / "i", given, 0.5)
    assert [o.state for o in outcomes] == ["added", "failed", "failed", "failed", "failed", "added", "failed"]
    kinds = [ContractError, EmbeddingsError, EmbeddingsError, ContractError, ContractError]
    assert [type(o.error) for o in outcomes if o.error] == kinds
    assert [entry.slide for entry in SearchIndex.open(tmp_path / "i").entries] == ["S-1", "S-2"]
    (refused,) = grow(tmp_path / "i", [slides[2]], 1.0)
    assert "0.5 um/px, not at 1" in str(refused.error)


@pytest.mark.parametrize("moment", ["_write", "write_catalogue", "sweep"])
def test_a_killed_run_leaves_the_index_as_it_was(index: Path, tmp_path: Path, moment: str) -> None:
    before = SearchIndex.open(index)
    new = slide(tmp_path / "e", 4)
    with patch.object(growing_module, moment, side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        grow(index, [new])
    assert verify_index(index) == []
    assert len(SearchIndex.open(index)) == len(before) + (16 if moment == "sweep" else 0)
    assert grow(index, [new])[0].state == ("unchanged" if moment == "sweep" else "added")
    assert len(list((index / "segments").iterdir())) == 4


def test_what_a_killed_run_left_is_swept(index: Path, tmp_path: Path) -> None:
    (index / ".index.json.new").write_text("{")
    (index / "segments" / ".half.staging").mkdir()
    (index / "segments" / ("f" * 64)).mkdir()
    assert verify_index(index) == []
    grow(index, [slide(tmp_path / "e", 4)])
    assert len(list((index / "segments").iterdir())) == len(SearchIndex.open(index).entries) == 4
    assert sorted(path.name for path in index.iterdir()) == ["index.json", "segments"]


def test_a_killed_removal_is_finished_by_the_next_run(index: Path) -> None:
    with patch.object(growing_module, "sweep", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        remove(index, {"S-2"})
    assert len(SearchIndex.open(index).entries) == 2
    remove(index, {"S-1"})
    assert len(list((index / "segments").iterdir())) == 1


def test_a_reader_sees_the_old_index_or_the_new_one(index: Path) -> None:
    reader = SearchIndex.open(index)
    query = by_slide(reader, "S-1")
    remove(index, {"S-2"})
    found = search(reader, query, 50)
    assert found.searched == {"slides": 2, "tiles": 28}
    assert {hit.slide for hit in found.hits} == {"S-1", "S-3"}


def test_a_second_writer_waits(index: Path, tmp_path: Path) -> None:
    new = slide(tmp_path / "e", 4)
    with locked(index / growing_module.LOCK):
        writer = threading.Thread(target=grow, args=(index, [new]))
        writer.start()
        writer.join(0.3)
        assert writer.is_alive()
        assert len(SearchIndex.open(index).entries) == 3
    writer.join(30)
    assert len(SearchIndex.open(index).entries) == 4


def test_every_flipped_byte_is_named_and_never_searched(index: Path) -> None:
    opened = SearchIndex.open(index)
    vector = np.random.default_rng(0).normal(size=8)
    whole = search(opened, by_vector(opened, vector), 42)
    for name in ("codes", "first", "rows", "coords"):
        path = opened.segments[1].path / name / "c" / "0" / "0"
        good = path.read_bytes()
        path.write_bytes(bytes([good[0] ^ 4]) + good[1:])
        assert verify_index(index) == [str(path.relative_to(index))]
        with pytest.raises(IndexStoreError, match="damaged"):
            search(opened, by_vector(opened, vector), 42)
        path.write_bytes(good[:-2])
        with pytest.raises(IndexStoreError, match="damaged"):
            search(opened, by_vector(opened, vector), 42)
        path.write_bytes(good)
    assert search(opened, by_vector(opened, vector), 42) == whole


def test_single_rows_are_checked_where_they_stand(tmp_path: Path) -> None:
    rows = np.random.default_rng(5).normal(size=(400, 8))
    made = write_embeddings(tmp_path / "e", {0.5: rows}, TINY)
    grow(tmp_path / "i", [IndexSlide("S", made.path)])
    opened = SearchIndex.open(tmp_path / "i")
    path = opened.segments[0].path / "rows" / "c" / "0" / "0"
    data = bytearray(path.read_bytes())
    data[16 * 10] ^= 1
    path.write_bytes(data)
    assert opened.rows(np.array([9, 11])).shape == (2, 8)
    with pytest.raises(IndexStoreError, match="damaged"):
        opened.rows(np.array([9, 10]))
    path = opened.segments[0].path / "check" / "c" / "0" / "0"
    path.write_bytes(b"\1" + path.read_bytes()[1:])
    with pytest.raises(IndexStoreError, match="damaged"):
        opened.rows(np.array([9, 11]))


@pytest.mark.parametrize(
    ("old", "new"), [('"S-1"', '"S-8"'), ('"format": 1', '"format": 9'), ('"tiles": 13', '"tiles": 12'), ("{", "[")]
)
def test_an_altered_catalogue_is_refused_and_named(index: Path, old: str, new: str) -> None:
    path = index / "index.json"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(IndexStoreError):
        SearchIndex.open(index)
    assert verify_index(index) == ["index.json"]


def test_a_segment_of_another_slide_is_named(index: Path) -> None:
    first, second = (SearchIndex.open(index).segments[n].path for n in (0, 1))
    shutil.rmtree(second)
    shutil.copytree(first, second)
    assert verify_index(index) == [f"segments/{second.name}/manifest.json"]
    shutil.rmtree(second)
    assert verify_index(index) == [f"segments/{second.name}/manifest.json"]


def test_no_index_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(IndexStoreError, match="No search index"):
        SearchIndex.open(tmp_path)
    with pytest.raises(IndexStoreError, match="No search index"):
        remove(tmp_path / "i", {"S"})
    assert grow(tmp_path / "i", [IndexSlide("S", tmp_path / "none")])[0].state == "failed"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_said_so(tmp_path: Path, slides: list[IndexSlide]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(IndexStoreError, match="No folder"):
        grow(tmp_path / "file" / "i", slides)


def test_a_folder_that_cannot_be_written_to_is_said_so(index: Path, slides: list[IndexSlide]) -> None:
    (index / ".lock").mkdir()
    with pytest.raises(IndexStoreError, match="written to"):
        grow(index, slides)


def test_another_tissue_head_asks_for_a_new_index(index: Path, slides: list[IndexSlide]) -> None:
    write_catalogue(index, SearchIndex.open(index).catalogue.changed(tissue_head="0" * 64))
    (outcome,) = grow(index, slides[:1])
    assert "another tissue head" in str(outcome.error)


def test_without_locks_nothing_is_written(tmp_path: Path, slides: list[IndexSlide]) -> None:
    with patch("fcntl.flock", side_effect=OSError(38, os.strerror(38))), pytest.raises(IndexStoreError, match="locks"):
        grow(tmp_path / "i", slides)
