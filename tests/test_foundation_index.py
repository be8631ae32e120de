"""The search index: what it finds is what reading every row gives, whatever the rows are."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from foundation.errors import BadFeaturesError, QueryError
from foundation.index import Diversity, SearchIndex, by_vector, nearest, search, searching
from foundation.index import best as best_module
from foundation.index import segment as layout
from foundation.index.best import Best
from foundation.index.catalogue import SEGMENTS, Catalogue, Entry, write_catalogue
from foundation.index.found import SlideHit
from foundation.index.measure import Cosine
from foundation.index.quantise import quantise, scores, unit_rows

ENCODER = {"key": "k", "family": "f", "weights_digest": "w", "preprocessing_digest": "p"}
TILE = 100


def raw_index(folder: Path, slides: list[NDArray[np.float16]]) -> SearchIndex:
    """An index of rows as they are, of any length."""
    entries = []
    for number, rows in enumerate(slides):
        at = np.arange(len(rows))
        coords = np.stack([at % 5, at // 5], axis=1).astype(np.int64) * TILE
        layout.write_segment(folder / SEGMENTS / f"s{number}", rows, {"coords": coords})
        size = (float(TILE), float(TILE))
        columns = {"site": "AB"[number % 2]}
        entries.append(Entry(f"S{number}", f"s{number}", "", str(number), "e", len(rows), size, columns))
    write_catalogue(folder, Catalogue(ENCODER, slides[0].shape[1], 0.5, None, tuple(entries)))
    return SearchIndex.open(folder)


def brute(rows: NDArray[np.float16], query: NDArray[np.float32], k: int) -> tuple[NDArray[Any], NDArray[np.float32]]:
    truth = np.array([scores(row[None], query)[0] for row in rows])  # each alone: no product of matrices
    order = np.lexsort((np.arange(len(rows)), -truth))[:k]
    return order, truth[order]


ANY = st.floats(-60000, 60000, width=16, allow_subnormal=True)
UNIT = st.floats(-1, 1, width=16)
FEW = st.sampled_from([0.0, 0.5, -0.5, 1.0])
"""Of few values, so that many rows and scores are equal."""


@st.composite
def cohorts(draw: st.DrawFn) -> list[NDArray[np.float16]]:
    dim = draw(st.integers(1, 9))
    values = draw(st.sampled_from([ANY, UNIT, FEW]))
    sizes = draw(st.lists(st.integers(1, 12), min_size=1, max_size=2))
    return [draw(arrays(np.float16, (size, dim), elements=values)) for size in sizes]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(slides=cohorts(), data=st.data())
def test_nothing_better_is_left_out(
    slides: list[NDArray[np.float16]], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    dim = slides[0].shape[1]
    vector = data.draw(arrays(np.float32, dim, elements=st.floats(-1, 1, width=32)).filter(lambda v: bool(v.any())))
    k = data.draw(st.integers(1, 40))
    with patch.object(layout, "BLOCK_BYTES", 3 * dim), patch.object(best_module, "MOST", 4):
        index = raw_index(tmp_path_factory.mktemp("i"), slides)
        query = by_vector(index, vector).vector
        assert query is not None
        (best,) = nearest(index, query[None], k)
        rows, found = best.result()
    expected, truth = brute(np.concatenate(slides), query, k)
    assert rows.tolist() == expected.tolist()
    assert found.tolist() == truth.tolist()
    assert best.left_out_at_most <= found[-1]


@settings(max_examples=60)
@given(
    rows=arrays(np.float16, (6, 7), elements=st.one_of(ANY, UNIT, st.just(0.0))),
    query=arrays(np.float32, 7, elements=st.floats(-1, 1, width=32)),
)
def test_true_scores_lie_within_the_bounds(rows: NDArray[np.float16], query: NDArray[np.float32]) -> None:
    codes, first = quantise(rows)
    length = float(np.linalg.norm(query.astype(float)))
    middle = np.array([np.dot(code.astype(np.float32), query) for code in codes]) * first[:, 0].astype(float)
    truth = (rows.astype(float) * query.astype(float)).sum(axis=1)
    assert (np.abs(truth - middle) <= first[:, 1] * length * (1 + 1e-9) + 1e-40).all()
    assert np.abs(codes.astype(int)).max() <= 127


@settings(max_examples=60)
@given(data=st.data())
def test_the_best_are_the_best_however_wide_the_bounds(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 60))
    truth = data.draw(arrays(np.float32, count, elements=st.sampled_from([0.0, 0.25, 0.5, 0.75])))
    below, above = (data.draw(arrays(np.float64, count, elements=st.floats(0, 1))) for _ in range(2))
    k = data.draw(st.integers(1, 70))
    with patch.object(best_module, "MOST", 8), patch.object(best_module, "BATCH", 3):
        best = Best(k, lambda rows: truth[rows])
        for first in data.draw(st.permutations(range(0, count, 7))):
            part = slice(first, first + 7)
            best.show(first, truth[part] - below[part], truth[part] + above[part])
        rows, found = best.result()
    order = np.lexsort((np.arange(count), -truth))[:k]
    assert (rows.tolist(), found.tolist()) == (order.tolist(), truth[order].tolist())
    assert best.rescored <= count


def test_of_equal_rows_the_first_is_best_in_whatever_order_they_come() -> None:
    best = Best(1, lambda rows: np.zeros(len(rows), np.float32))
    for first in (10, 0, 20):
        best.show(first, np.zeros(2), np.zeros(2))
    assert best.result()[0].tolist() == [0]


def test_a_first_pass_saves_most_of_the_reading(tmp_path: Path) -> None:
    rows = unit_rows(np.random.default_rng(1).normal(size=(5000, 64)))
    index = raw_index(tmp_path, [rows])
    query = rows[7].astype(np.float32)
    (best,) = nearest(index, query[None], 10)
    assert best.result()[0].tolist() == brute(rows, query, 10)[0].tolist()
    assert best.rescored < 600


def test_scores_nearer_than_a_code_is_wide_are_told_apart(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    rows = unit_rows(np.array([1.0, 0.6, -0.3, 0.2]) + 0.01 * rng.normal(size=(3000, 4)))
    index = raw_index(tmp_path, [rows])
    queries = unit_rows(rng.normal(size=(20, 4))).astype(np.float32)
    for query, best in zip(queries, nearest(index, queries, 3), strict=True):
        assert best.result()[0].tolist() == brute(rows, query, 3)[0].tolist()


def test_several_queries_are_answered_in_one_pass(tmp_path: Path) -> None:
    slides = [unit_rows(np.random.default_rng(n).normal(size=(50, 8))) for n in range(3)]
    index = raw_index(tmp_path, slides)
    queries = unit_rows(np.random.default_rng(9).normal(size=(4, 8))).astype(np.float32)
    for query, best in zip(queries, nearest(index, queries, 5, (0, 2)), strict=True):
        rows = np.concatenate([slides[0], slides[2]])
        expected, truth = brute(rows, query, 5)
        assert best.result()[0].tolist() == [row if row < 50 else row + 50 for row in expected]
        assert best.result()[1].tolist() == truth.tolist()


def test_filters_choose_slides(tmp_path: Path) -> None:
    slides = [unit_rows(np.random.default_rng(n).normal(size=(20, 8))) for n in range(4)]
    index = raw_index(tmp_path, slides)
    query = by_vector(index, slides[0][3].astype(np.float32))
    found = search(index, query, 200, where={"site": {"A"}}, without={"S2"}, slides=True)
    assert {hit.slide for hit in found.hits} == {"S0"}
    assert found.searched == {"slides": 1, "tiles": 20}
    assert len(found.hits) == 20
    assert found.hits[0].row == 3
    assert [slide.slide for slide in found.slides] == ["S0"]
    assert search(index, query, where={"slide": {"S1"}}).hits[0].slide == "S1"
    with pytest.raises(QueryError, match="no column 'grade'; it has 'slide', 'site'"):
        search(index, query, where={"grade": {"2"}})
    with pytest.raises(QueryError, match="No slide of the index fits"):
        search(index, query, where={"site": {"C"}})


@pytest.mark.parametrize("k", [0, -1, 10_001])
def test_a_number_of_results_that_cannot_be_given_is_refused(tmp_path: Path, k: int) -> None:
    index = raw_index(tmp_path, [unit_rows(np.eye(4))])
    with pytest.raises(QueryError, match="between 1 and"):
        search(index, by_vector(index, np.ones(4)), k)


@pytest.mark.parametrize("vector", [np.zeros(4), np.full(4, np.nan), np.array([1.0, np.inf, 0, 0]), np.ones(5)])
def test_a_vector_without_a_direction_is_refused(tmp_path: Path, vector: NDArray[np.float64]) -> None:
    index = raw_index(tmp_path, [unit_rows(np.eye(4))])
    with pytest.raises(QueryError):
        by_vector(index, vector)


def test_a_vector_of_any_length_is_the_same_query(tmp_path: Path) -> None:
    index = raw_index(tmp_path, [unit_rows(np.eye(4))])
    vector = np.array([1.0, 2.0, -3.0, 0.5])
    one, other = by_vector(index, vector * 1e-300).vector, by_vector(index, vector * 1e300).vector
    assert one is not None
    assert other is not None
    assert np.allclose(one, other)


def test_features_that_are_not_finite_are_not_indexed() -> None:
    with pytest.raises(BadFeaturesError):
        unit_rows(np.array([[1.0, np.inf]]))
    assert unit_rows(np.zeros((1, 3))).tolist() == [[0, 0, 0]]


def test_tiles_in_an_answer_do_not_overlap_and_slides_share_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    slides = [unit_rows(rng.normal(size=(60, 6))) for _ in range(3)]
    index = raw_index(tmp_path, slides)
    real = SearchIndex.values
    query = by_vector(index, rng.normal(size=6))
    everything = search(index, query, 180, diversity=Diversity(apart=False))
    assert len(everything.hits) == 180
    with patch.object(SearchIndex, "values", lambda *a: real(*a) // 2):  # as if tiles overlapped by half
        hits = search(index, query, 30).hits
    assert len(hits) > 10
    for number, one in enumerate(hits):
        for other in hits[:number]:
            assert one.slide != other.slide or max(abs(one.x - other.x), abs(one.y - other.y)) >= TILE
    few = search(index, query, 5, diversity=Diversity(per_slide=2)).hits
    shown = [hit.slide for hit in few]
    assert max(shown.count(slide) for slide in shown) == 2
    by_score = [hit for hit in everything.hits if hit.slide == "S1"][:2]
    assert [hit.row for hit in few if hit.slide == "S1"][:2] == [hit.row for hit in by_score][: shown.count("S1")]
    assert len(search(index, query, 50, diversity=Diversity(per_slide=1)).hits) == 3


def test_marginal_relevance_passes_over_twins(tmp_path: Path) -> None:
    rows = unit_rows(np.array([[1, 0.1, 0], [1, 0.1, 0], [1, 0.1, 0], [1, -0.4, 0], [1, 0, 0.9]]))
    index = raw_index(tmp_path, [rows])
    query = by_vector(index, np.array([1.0, 0, 0]))
    assert [hit.row for hit in search(index, query, 3).hits] == [0, 1, 2]
    assert [hit.row for hit in search(index, query, 3, diversity=Diversity(mmr=0.5)).hits] == [0, 3, 4]
    assert [hit.row for hit in search(index, query, 3, diversity=Diversity(mmr=1.0)).hits] == [0, 1, 2]
    for wrong in (Diversity(mmr=1.5), Diversity(per_slide=0)):
        with pytest.raises(QueryError):
            search(index, query, 3, diversity=wrong)


def test_slides_are_ordered_by_their_best_tiles(tmp_path: Path) -> None:
    slides = [unit_rows(np.random.default_rng(n).normal(size=(size, 6))) for n, size in enumerate((40, 7, 90))]
    index = raw_index(tmp_path, slides)
    query = by_vector(index, np.arange(1.0, 7.0))
    found = search(index, query, 3, slides=True)
    assert query.vector is not None
    means = {f"S{n}": brute(rows, query.vector, 10)[1].astype(float).mean() for n, rows in enumerate(slides)}
    assert [slide.slide for slide in found.slides] == sorted(means, key=lambda name: -means[name])
    assert all(slide.score == pytest.approx(means[slide.slide]) for slide in found.slides)
    assert [slide.rank for slide in found.slides] == [1, 2, 3]


def test_slides_without_tiles_have_no_hits(tmp_path: Path) -> None:
    index = raw_index(tmp_path, [np.zeros((0, 3), np.float16), np.ones((4, 3), np.float16)])
    query = by_vector(index, np.ones(3))
    found = search(index, query, 5, where={"slide": {"S0"}}, slides=True)
    assert (found.hits, found.slides, found.searched) == ((), (), {"slides": 1, "tiles": 0})
    assert [one.slide for one in search(index, query, 5, slides=True).slides] == ["S1"]


def test_what_waits_to_be_read_does_not_add_up_over_slides(tmp_path: Path) -> None:
    index = raw_index(tmp_path, [np.ones((40, 3), np.float16)] * 4)
    waiting: list[int] = []
    ranked = searching._ranked

    def counted(index: SearchIndex, by_slide: dict[int, Best]) -> tuple[SlideHit, ...]:
        waiting.extend(len(best._rows) for best in by_slide.values())
        return ranked(index, by_slide)

    with patch.object(searching, "_ranked", counted):
        assert len(search(index, by_vector(index, np.ones(3)), 5, slides=True).slides) == 4
    assert waiting == [0] * 4


def test_memory_for_a_block_is_bounded(tmp_path: Path) -> None:
    index = raw_index(tmp_path, [unit_rows(np.eye(4))])
    lower, upper = Cosine(index, np.eye(4, dtype=np.float32)[:2]).bounds(index.segments[0], 0)
    assert lower.shape == upper.shape == (2, 4)
    assert layout.block_rows(1_000_000, 512) * 512 <= layout.BLOCK_BYTES
    assert layout.block_rows(5, 10_000_000) == 1
    assert layout.block_rows(0, 8) == 1
