"""What a search answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foundation.embeddings import NOTICE
from foundation.index.query import Query
from foundation.index.store import SearchIndex

CLOSED_NOTE = (
    "Closed vocabulary: the text is one of twelve breast tissues by name or synonym; nothing else is understood. "
    "The score is the share of the tile's tissue that a tissue head estimates."
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
    """No tile whose true score was not read scores more than this, see `foundation.index.best`; None where all were
    read, or nobody knows. Tiles that were read and are not shown, such as those that overlap, may score more."""
    note: str
    provenance: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    """What in the text of the query is not understood as it is meant."""
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
