"""The verb: the best tiles of a cohort for a query, and its slides in order, exactly."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foundation.embeddings import NOTICE
from foundation.errors import IndexStoreError, QueryError
from foundation.index.best import Best
from foundation.index.diversity import Diversity, choose
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
CLOSED_NOTE = (
    "Closed vocabulary: the text is one of twelve breast tissues by name or synonym; nothing else is understood. "
    "The score is the share of the tile's tissue that the built-in tissue head estimates."
)
COSINE_NOTE = "The score is a cosine: it orders tiles for one query, and is no probability."


@dataclass(frozen=True, slots=True)
class Hit:
    """A tile that was found."""

    rank: int
    """1 for the first."""
    slide: str
    """Its pseudonym."""
    x: int
    """Level-0 pixels, left."""
    y: int
    """Level-0 pixels, top."""
    width: float
    """Level-0 pixels."""
    height: float
    """Level-0 pixels."""
    score: float
    row: int
    """Number in the index, until that is changed."""


@dataclass(frozen=True, slots=True)
class SlideHit:
    """A slide, by its best tiles."""

    rank: int
    """1 for the first."""
    slide: str
    """Its pseudonym."""
    score: float
    """Mean of its K best tiles."""
    best: float
    """Score of its best tile."""
    tiles: int


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found."""

    meaning: str
    hits: tuple[Hit, ...]
    """The best first."""
    slides: tuple[SlideHit, ...]
    """All that were searched, the best first; empty where they were not asked for."""
    searched: dict[str, int]
    """Numbers of `slides` and `tiles` that fit the filter."""
    exact: bool
    """Nothing better is in the index."""
    rescored: int
    """Tiles whose true score was read."""
    left_out_at_most: float | None
    """No other tile scores more than this, see `foundation.index.best`; None where all were read, or nobody knows."""
    note: str
    provenance: dict[str, Any] = field(default_factory=dict)
    notice: str = NOTICE

    def to_json(self) -> dict[str, Any]:
        """A JSON document.

        Returns:
            The fields by name.
        """
        document: dict[str, Any] = {name: getattr(self, name) for name in Found.__slots__}
        for name, kind in (("hits", Hit), ("slides", SlideHit)):
            document[name] = [{key: getattr(one, key) for key in kind.__slots__} for one in document[name]]
        return document


def search(
    index: SearchIndex,
    query: Query,
    k: int = 50,
    *,
    where: Where | None = None,
    without: Collection[str] = (),
    diversity: Diversity | None = None,
    slides: bool = False,
) -> Found:
    """Find the best tiles of a cohort. The answer is exact: it is what reading every stored row would give.

    Args:
        index: The index; where it is changed meanwhile, it is opened again.
        query: What for.
        k: Tiles to find.
        where: Column -> values of which a slide must have one.
        without: Pseudonyms of slides to leave out.
        diversity: Which of the best are shown; None for tiles that do not overlap.
        slides: Score the slides, too.

    Returns:
        The tiles and slides.

    Raises:
        IndexStoreError: If a block is damaged.
    """
    diversity = diversity or Diversity()
    diversity.require_possible()
    require_k(k)
    while True:
        try:
            return _search(index, query, k, (index.select(where, without), diversity, slides))
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


def _search(index: SearchIndex, query: Query, k: int, how: tuple[tuple[int, ...], Diversity, bool]) -> Found:
    chosen, diversity, with_slides = how
    measure = measure_of(index, query)
    total = sum(index.entries[slide].tiles for slide in chosen)
    by_slide = {slide: Best(SLIDE_K, measure.truths()[0]) for slide in chosen} if with_slides else {}
    pool = min(total, MOST_RESULTS, k * WIDER)
    (best,) = _best(index, measure, pool, chosen, (lambda s, *block: by_slide[s].show(*block)) if by_slide else None)
    rows, scores = best.result()
    places = choose(index, rows, scores, k, diversity)
    while len(places) < k and pool < min(total, MOST_RESULTS):
        pool = min(total, MOST_RESULTS, pool * WIDER)
        (best,) = _best(index, measure, pool, chosen)
        rows, scores = best.result()
        places = choose(index, rows, scores, k, diversity)
    found = found_of(index, query, rows[places], scores[places])
    return replace(
        found,
        slides=_ranked(index, by_slide),
        searched={"slides": len(chosen), "tiles": total},
        rescored=best.rescored,
        left_out_at_most=float(best.left_out_at_most) if np.isfinite(best.left_out_at_most) else None,
    )


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


def found_of(index: SearchIndex, query: Query, rows: NDArray[np.int64], scores: NDArray[np.float32]) -> Found:
    """Describe rows.

    Args:
        index: The index.
        query: What they were found for.
        rows: Row numbers [n], the best first.
        scores: [n].

    Returns:
        An answer that knows nothing of the search yet.
    """
    coords = index.values("coords", rows)
    owners = np.searchsorted(index.offsets, rows, side="right") - 1
    entries = [index.entries[owner] for owner in owners]
    hits = tuple(
        Hit(rank, entry.slide, int(x), int(y), entry.extent[0], entry.extent[1], float(score), int(row))
        for rank, (entry, (x, y), score, row) in enumerate(zip(entries, coords, scores, rows, strict=True), start=1)
    )
    catalogue = index.catalogue
    provenance = {
        "encoder": catalogue.encoder,
        "mpp": catalogue.mpp,
        "tissue_head_digest": catalogue.tissue_head,
        "embeddings": {entry.slide: entry.embeddings for entry in entries},
    }
    note = CLOSED_NOTE if query.tissue is not None else COSINE_NOTE
    return Found(
        query.meaning, hits, (), {}, exact=True, rescored=0, left_out_at_most=None, note=note, provenance=provenance
    )


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
