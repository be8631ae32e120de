"""The approximate index: it finds nearly all of what the exact one finds, through any library, and knows its limits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from foundation.errors import IndexStoreError, QueryError
from foundation.index import (
    ApproximateIndex,
    Approximation,
    IndexSlide,
    SearchIndex,
    approximate,
    by_slide,
    by_vector,
    grow,
    remove,
    search,
    verify_index,
)
from foundation.index.approximate import LIBRARIES
from foundation.index.faiss_ivf import FaissIvf
from foundation.testing import write_embeddings

pytest.importorskip("faiss")
TINY = {"key": "tiny", "family": "f", "weights_digest": "w", "preprocessing_digest": "p"}
DIM = 16


def slide(folder: Path, number: int) -> IndexSlide:
    rng = np.random.default_rng(number)
    kinds = np.random.default_rng(0).normal(size=(6, DIM))
    rows = kinds[rng.integers(0, 6, 200)] + 0.3 * rng.normal(size=(200, DIM))
    made = write_embeddings(folder, {0.5: rows}, TINY, content=f"{number:064x}")
    return IndexSlide(f"S-{number}", made.path, {"site": "AB"[number % 2]})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    grow(tmp_path / "i", [slide(tmp_path / "e", number) for number in (1, 2, 3)])
    approximate(tmp_path / "i")
    return tmp_path / "i"


def agreement(index: SearchIndex, approximation: Approximation, **how: object) -> float:
    """Share of the exact best that is found, over some queries."""
    shares = []
    for seed in range(8):
        row = index.rows(np.array([seed * len(index) // 8]))[0]
        query = by_vector(index, row.astype(np.float32))
        exact = search(index, query, 20, **how)  # type: ignore[arg-type]
        near = search(index, query, 20, approximation=approximation, **how)  # type: ignore[arg-type]
        assert exact.exact
        assert not near.exact
        true = {hit.row: hit.score for hit in exact.hits}
        assert all(true.get(hit.row, hit.score) == hit.score for hit in near.hits)
        shares.append(len(true.keys() & {hit.row for hit in near.hits}) / len(true))
    return float(np.mean(shares))


def test_it_finds_nearly_all_and_scores_exactly(path: Path) -> None:
    index = SearchIndex.open(path)
    approximation = Approximation(index)
    assert agreement(index, approximation) > 0.9
    assert agreement(index, approximation, where={"site": {"A"}}) > 0.9
    assert isinstance(FaissIvf(None, None), ApproximateIndex)
    assert verify_index(path) == []


def test_slides_that_came_later_are_found_and_replaced_ones_are_not(path: Path, tmp_path: Path) -> None:
    grow(path, [slide(tmp_path / "e", 4), replace(slide(tmp_path / "e", 5), slide="S-1")])
    index = SearchIndex.open(path)
    approximation = Approximation(index)
    assert agreement(index, approximation) > 0.9
    new = search(index, by_slide(index, "S-4"), 20, where={"slide": {"S-4"}}, approximation=approximation)
    assert {hit.slide for hit in new.hits} == {"S-4"}
    found = {hit.slide for hit in search(index, by_slide(index, "S-2"), 500, approximation=approximation).hits}
    assert {"S-1", "S-4"} <= found
    assert not any(entry.content_hash == f"{1:064x}" for entry in index.entries)


def test_what_holds_rows_of_a_removed_slide_goes_with_it(path: Path) -> None:
    remove(path, {"S-1"})
    assert list((path / "approximate").iterdir()) == []
    with pytest.raises(QueryError, match="no approximate one"):
        Approximation(SearchIndex.open(path))
    assert verify_index(path) == []


def test_an_earlier_one_is_replaced(path: Path, tmp_path: Path) -> None:
    grow(path, [slide(tmp_path / "e", 4)])
    approximate(path)
    assert len(list((path / "approximate").iterdir())) == 1
    index = SearchIndex.open(path)
    assert agreement(index, Approximation(index)) > 0.9


def test_a_damaged_one_is_named_and_never_read(path: Path) -> None:
    (file,) = (path / "approximate").glob("*/index.bin")
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    file.write_bytes(data)
    assert verify_index(path) == [str(file.relative_to(path))]
    with patch.object(FaissIvf, "load", side_effect=AssertionError), pytest.raises(IndexStoreError, match="damaged"):
        Approximation(SearchIndex.open(path))
    file.unlink()
    with pytest.raises(IndexStoreError, match="damaged"):
        Approximation(SearchIndex.open(path))


def test_a_file_that_is_no_index_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"not an index")
    with pytest.raises(IndexStoreError, match="cannot be read"):
        FaissIvf.load(tmp_path / "f")


def test_what_it_cannot_do_is_said(path: Path, tmp_path: Path) -> None:
    index = SearchIndex.open(path)
    with pytest.raises(QueryError, match="search them exactly"):
        search(index, by_slide(index, "S-1"), slides=True, approximation=Approximation(index))
    remove(path, {"S-1", "S-2", "S-3"})
    with pytest.raises(QueryError, match="no tiles"):
        approximate(path)
    grow(tmp_path / "j", [slide(tmp_path / "e", 1)])
    with pytest.raises(QueryError, match="no approximate one"):
        Approximation(SearchIndex.open(tmp_path / "j"))
    missing = patch("foundation.index.faiss_ivf.import_module", side_effect=ImportError)
    with missing, pytest.raises(QueryError, match="extra 'search'"):
        approximate(tmp_path / "j")
    assert set(LIBRARIES) == {"faiss"}
