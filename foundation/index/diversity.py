"""Results that are not all the same place: apart on a slide, few of each slide, and unlike each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foundation.errors import QueryError
from foundation.index.store import SearchIndex

MMR_LAMBDA = 0.7
"""Weight of the score against likeness to what is chosen already."""


@dataclass(frozen=True, slots=True)
class Diversity:
    """Which of the best rows are shown."""

    apart: bool = True
    """No two tiles of a slide overlap."""
    per_slide: int | None = None
    """At most so many of a slide."""
    mmr: float | None = None
    """Maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998, doi 10.1145/290941.291025) with this lambda:
    1 is the score alone, 0 likeness alone. The first is always the best; None leaves the order by score."""

    def require_possible(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            QueryError: If a number is out of range.
        """
        if self.per_slide is not None and self.per_slide < 1:
            raise QueryError("At least one tile of a slide is shown.")
        if self.mmr is not None and not 0 <= self.mmr <= 1:
            raise QueryError("The lambda of maximal marginal relevance lies between 0 and 1.")


def choose(
    index: SearchIndex, rows: NDArray[np.int64], scores: NDArray[np.float32], k: int, diversity: Diversity
) -> NDArray[np.int64]:
    """Choose from the best rows, one after the other.

    Args:
        index: The index.
        rows: Row numbers [P], the best first.
        scores: [P].
        k: How many are wanted.
        diversity: What is asked of them.

    Returns:
        Places in `rows` of at most k, in the order in which they are shown.
    """
    slides = np.searchsorted(index.offsets, rows, side="right") - 1
    coords = index.values("coords", rows)
    extents = np.floor([index.entries[slide].extent for slide in slides]).reshape(-1, 2)
    vectors = index.rows(rows).astype(np.float32) if diversity.mmr is not None else None
    likeness = np.full(len(rows), -1.0, np.float32)
    allowed, chosen = np.ones(len(rows), np.bool_), list[int]()
    while len(chosen) < k and allowed.any():
        if vectors is None or not chosen:
            place = int(np.argmax(allowed))  # the first, which is the best
        else:
            weight = diversity.mmr or 0.0
            likeness = np.maximum(likeness, vectors @ vectors[chosen[-1]])
            gain = weight * scores - (1 - weight) * likeness
            place = int(np.argmax(np.where(allowed, gain, -np.inf)))
        chosen.append(place)
        allowed[place] = False
        same = slides == slides[place]
        if diversity.apart:
            allowed &= ~same | (np.abs(coords - coords[place]) >= extents).any(axis=1)
        if diversity.per_slide is not None and int(same[chosen].sum()) >= diversity.per_slide:
            allowed &= ~same
    return np.array(chosen, np.int64)
