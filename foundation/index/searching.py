"""The verb: the best tiles of a cohort for a query, and its slides in order, exactly."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from foundation.errors import IndexStoreError, QueryError
from foundation.index.approximate import Approximation
from foundation.index.best import Best
from foundation.index.diversity import Diversity, choose
from foundation.index.found import Found, SlideHit, found_of
from foundation.index.measure import Cosine, Measure, Share, scan
from foundation.index.query import Query
from foundation.index.store import SearchIndex, Where

SLIDE_K = 10
"""A slide's score is the mean of its K best tiles (MI-Zero, Lu et al., CVPR 2023, arXiv:2306.07831), K fixed before
any slide was seen; of all its tiles where it has fewer."""
MOST_RESULTS = 10_000
"""Tiles in an answer, and tiles among which diverse ones are looked for."""
WIDER = 4
"""The first look for diverse tiles takes in so many times the tiles that are wanted, each further one as many again."""


@dataclass(frozen=True, slots=True)
class _How:
    """A search, as it was asked for."""

    slides: tuple[int, ...]
    diversity: Diversity
    with_slides: bool
    approximation: Approximation | None


@dataclass(frozen=True, slots=True)
class _Ranking:
    """The best rows, the best first."""

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    rescored: int
    left_out_at_most: float | None
    exact: bool


def search(
    index: SearchIndex,
    query: Query,
    k: int = 50,
    *,
    where: Where | None = None,
    without: Collection[str] = (),
    diversity: Diversity | None = None,
    slides: bool = False,
    approximation: Approximation | None = None,
) -> Found:
    """Find the best tiles of a cohort. Without an approximation the answer is what reading every row would give.

    Args:
        index: The index; where it is changed meanwhile, it is opened again.
        query: What for.
        k: Tiles to find.
        where: Column -> values of which a slide must have one.
        without: Pseudonyms of slides to leave out.
        diversity: Which of the best are shown; None for tiles that do not overlap.
        slides: Score the slides, too.
        approximation: A faster way that may miss tiles; tissues of the closed vocabulary do without.

    Returns:
        The tiles and slides.

    Raises:
        IndexStoreError: If a block is damaged.
        QueryError: If slides are asked for with an approximation, which sees few of their tiles.
    """
    if slides and approximation is not None:
        raise QueryError("Slides are scored over all their tiles; search them exactly.")
    diversity = diversity or Diversity()
    diversity.require_possible()
    require_k(k)
    while True:
        try:
            return _search(index, query, k, _How(index.select(where, without), diversity, slides, approximation))
        except IndexStoreError:
            now = SearchIndex.open(index.path)
            if now.catalogue.generation == index.catalogue.generation:
                raise
            index = now  # a slide was removed while it was searched


def nearest(
    index: SearchIndex, vectors: NDArray[np.float32], k: int = 50, slides: Sequence[int] | None = None
) -> tuple[Best, ...]:
    """The exact nearest rows to several vectors in one pass.

    Args:
        index: The index.
        vectors: Of length 1 [T, D].
        k: Rows for each.
        slides: Places in its entries; None for all.

    Returns:
        T results, whose `result()` gives row numbers and scores.
    """
    require_k(k)
    chosen = range(len(index.entries)) if slides is None else slides
    return _best(index, Cosine(index, vectors), k, chosen)


def require_k(k: int) -> None:
    """Refuse a number of results that cannot be given.

    Args:
        k: The number.

    Raises:
        QueryError: If it is less than 1 or too large.
    """
    if not 1 <= k <= MOST_RESULTS:
        raise QueryError(f"A search finds between 1 and {MOST_RESULTS} tiles, not {k}.")


def _best(
    index: SearchIndex, measure: Measure, k: int, slides: Sequence[int], more: Callable[..., None] | None = None
) -> tuple[Best, ...]:
    found = tuple(Best(k, truth) for truth in measure.truths())
    for slide, first, (lower, upper) in scan(index, slides, measure):
        for number, best in enumerate(found):
            best.show(first, lower[number], upper[number])
        if more is not None:
            more(slide, first, lower[0], upper[0])
    for best in found:
        best.result()
    return found


def _search(index: SearchIndex, query: Query, k: int, how: _How) -> Found:
    total = sum(index.entries[slide].tiles for slide in how.slides)
    measure = measure_of(index, query)
    by_slide = {slide: Best(SLIDE_K, measure.truths()[0]) for slide in how.slides} if how.with_slides else {}
    pool = max(1, min(total, MOST_RESULTS, k * WIDER))  # slides without tiles are searched, too
    ranking = _look(index, query, pool, how, by_slide)
    places = choose(index, ranking.rows, ranking.scores, k, how.diversity)
    while len(places) < k and pool < min(total, MOST_RESULTS):
        pool = min(total, MOST_RESULTS, pool * WIDER)
        ranking = _look(index, query, pool, how, {})
        places = choose(index, ranking.rows, ranking.scores, k, how.diversity)
    return replace(
        found_of(index, query, ranking.rows[places], ranking.scores[places]),
        slides=_ranked(index, by_slide),
        searched={"slides": len(how.slides), "tiles": total},
        exact=ranking.exact,
        rescored=ranking.rescored,
        left_out_at_most=ranking.left_out_at_most,
        warnings=query.warnings,
    )


def _look(index: SearchIndex, query: Query, k: int, how: _How, by_slide: dict[int, Best]) -> _Ranking:
    """The best rows by any way."""
    if how.approximation is not None and query.vector is not None:
        return _approximately(index, query.vector, k, how)

    def more(slide: int, first: int, lower: NDArray[np.float64], upper: NDArray[np.float64]) -> None:
        by_slide[slide].show(first, lower, upper)
        if first + len(lower) == index.offsets[slide + 1]:
            by_slide[slide].result()  # else what waits to be read would add up over the slides

    (best,) = _best(index, measure_of(index, query), k, how.slides, more if by_slide else None)
    rows, scores = best.result()
    bound = float(best.left_out_at_most)
    return _Ranking(rows, scores, best.rescored, bound if np.isfinite(bound) else None, exact=True)


def _approximately(index: SearchIndex, vector: NDArray[np.float32], k: int, how: _How) -> _Ranking:
    assert how.approximation is not None  # noqa: S101 - for mypy: the caller has looked
    rows, scores, unknown = how.approximation.nearest(index, vector, k, how.slides)
    rescored = len(rows)
    if unknown:
        (best,) = _best(index, Cosine(index, vector[None]), k, unknown)
        more, truths = best.result()
        rows, scores = np.concatenate([rows, more]), np.concatenate([scores, truths])
        order = np.lexsort((rows, -scores))[:k]
        rows, scores, rescored = rows[order], scores[order], rescored + best.rescored
    return _Ranking(rows, scores, rescored, None, exact=False)


def measure_of(index: SearchIndex, query: Query) -> Measure:
    """What rows are measured by for a query.

    Args:
        index: The index.
        query: The query.

    Returns:
        The measure.
    """
    if query.tissue is not None:
        return Share(index, query.tissue)
    assert query.vector is not None  # noqa: S101 - a query has the one or the other
    return Cosine(index, query.vector[None])


def _ranked(index: SearchIndex, by_slide: dict[int, Best]) -> tuple[SlideHit, ...]:
    scored = []
    for slide, best in by_slide.items():
        scores = best.result()[1].astype(np.float64)
        if len(scores):
            scored.append((float(scores.mean()), float(scores[0]), slide))
    scored.sort(key=lambda one: (-one[0], one[2]))
    return tuple(
        SlideHit(rank, index.entries[slide].slide, mean, top, index.entries[slide].tiles)
        for rank, (mean, top, slide) in enumerate(scored, start=1)
    )
