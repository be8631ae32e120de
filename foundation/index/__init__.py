"""Search over the tiles of a cohort: an index on disk that grows by slides, and exact answers in bounded memory."""

from __future__ import annotations

from foundation.index.approximate import ApproximateIndex, Approximation, approximate
from foundation.index.diversity import Diversity
from foundation.index.found import Found, Hit, SlideHit
from foundation.index.growing import IndexOutcome, IndexSlide, grow, remove
from foundation.index.query import Query, by_embeddings, by_slide, by_text, by_tile, by_vector
from foundation.index.searching import nearest, search
from foundation.index.store import SearchIndex, verify_index

__all__ = [
    "ApproximateIndex",
    "Approximation",
    "Diversity",
    "Found",
    "Hit",
    "IndexOutcome",
    "IndexSlide",
    "Query",
    "SearchIndex",
    "SlideHit",
    "approximate",
    "by_embeddings",
    "by_slide",
    "by_text",
    "by_tile",
    "by_vector",
    "grow",
    "nearest",
    "remove",
    "search",
    "verify_index",
]
