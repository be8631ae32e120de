"""What is searched for: words, tiles, slides, vectors; all become one vector of length 1, or a tissue."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foundation.doubts import doubts_of
from foundation.embeddings import Embeddings
from foundation.encoder import Encoder, TextEncoder
from foundation.errors import ContractError, QueryError
from foundation.index.quantise import unit_rows
from foundation.index.store import SearchIndex
from foundation.prompts import checked, contrast_set, tissue_of
from foundation.query import text_features
from foundation.tissue import TISSUES


@dataclass(frozen=True, slots=True)
class Query:
    """One thing to search for."""

    kind: str
    """`text`, `tile`, `slide` or `vector`."""
    meaning: str
    """The tissue that a text means in the closed vocabulary; otherwise what was asked."""
    vector: NDArray[np.float32] | None
    """Of length 1 [D]; None for a tissue."""
    tissue: int | None = None
    """Place in `TISSUES`."""
    warnings: tuple[str, ...] = ()
    """What in a text is not understood as it is meant."""


def by_vector(index: SearchIndex, vector: NDArray[np.floating[Any]], kind: str = "vector", what: str = "") -> Query:
    """Search for rows in the direction of a vector.

    Args:
        index: The index.
        vector: [D], of any length but zero.
        kind: What it stands for.
        what: The same in words.

    Returns:
        The query.

    Raises:
        QueryError: If it has another width, no direction, or numbers that are not finite.
    """
    if vector.shape != (index.catalogue.dim,):
        raise QueryError(f"The index holds features of {index.catalogue.dim} numbers; the query is {vector.shape}.")
    wide = vector.astype(np.float64)
    largest = float(np.abs(wide).max())
    if not np.isfinite(largest) or largest == 0:
        raise QueryError("The query has no direction: it is zero or not finite.")
    wide = wide / largest
    return Query(kind, what or kind, np.asarray(wide / np.linalg.norm(wide), np.float32))


def by_text(index: SearchIndex, text: str, encoder: Encoder | None = None) -> Query:
    """Search for what words say.

    Args:
        index: The index.
        text: A prompt; without a text side one of the tissues.
        encoder: The image-text pair that made the index; None for an encoder with a tissue head.

    Returns:
        The query.

    Raises:
        ContractError: If the encoder is another, or one without words.
    """
    (word,) = checked([text])
    made_by = index.catalogue.encoder
    if encoder is None:
        if index.catalogue.tissue_head is None:
            raise ContractError(f"Searching this index with words needs the text side of {made_by['key']!r}.")
        tissue = tissue_of(word)
        return Query("text", tissue, None, TISSUES.index(tissue))
    if not isinstance(encoder, TextEncoder):
        raise ContractError("This encoder has no text side, so it cannot be asked.")
    require_encoder(index, encoder.spec.key, encoder.weights_digest, encoder.preprocessing_digest)
    query = by_vector(index, text_features(encoder, [word], contrast_set().templates)[0], "text", word)
    return replace(query, warnings=doubts_of([word]))


def by_tile(index: SearchIndex, slide: str, x: int, y: int) -> Query:
    """Search for tiles like the one at a place.

    Args:
        index: The index.
        slide: Its pseudonym.
        x: Level-0 pixels.
        y: Level-0 pixels.

    Returns:
        The query.

    Raises:
        QueryError: If no tile of the slide covers the place.
    """
    number = index.number_of(slide)
    first, last = (int(index.offsets[n]) for n in (number, number + 1))
    coords = index.values("coords", np.arange(first, last))
    inside = (coords <= (x, y)).all(axis=1) & ((x, y) < coords + np.array(index.entries[number].extent)).all(axis=1)
    if not inside.any():
        raise QueryError("No tile of that slide in the index covers that place.")
    row = np.array([first + int(np.flatnonzero(inside)[0])])
    return by_vector(index, index.rows(row)[0], "tile", f"tile of {slide} at {x}, {y}")


def by_slide(index: SearchIndex, slide: str) -> Query:
    """Search for tiles like those of a slide, by their mean.

    Args:
        index: The index.
        slide: Its pseudonym.

    Returns:
        The query.
    """
    segment = index.segments[index.number_of(slide)]
    total = np.zeros(segment.dim)
    for block in range(segment.blocks):
        total += segment.block("rows", block).sum(axis=0, dtype=np.float64)
    return by_vector(index, total, "slide", f"mean of {slide}")


def by_embeddings(index: SearchIndex, embeddings: Embeddings) -> Query:
    """Search for tiles like those of a slide that is not in the index, by their mean.

    Args:
        index: The index.
        embeddings: Of the slide, by the same encoder at the same scale.

    Returns:
        The query.
    """
    made_by = embeddings.encoder
    require_encoder(index, made_by["key"], made_by["weights_digest"], made_by["preprocessing_digest"])
    rows = unit_rows(embeddings.features(index.catalogue.mpp))
    return by_vector(index, rows.sum(axis=0, dtype=np.float64), "slide", "mean of a slide")


def require_encoder(index: SearchIndex, key: str, weights_digest: str, preprocessing_digest: str) -> None:
    """Refuse what another encoder made.

    Args:
        index: The index.
        key: The encoder's name.
        weights_digest: SHA-256 of its weights.
        preprocessing_digest: SHA-256 of its preprocessing.

    Raises:
        ContractError: If the index was made by another, or with other weights or preprocessing.
    """
    made_by = index.catalogue.encoder
    ours = tuple(made_by[name] for name in ("key", "weights_digest", "preprocessing_digest"))
    if ours != (key, weights_digest, preprocessing_digest):
        raise ContractError(
            f"The index was made by encoder {made_by['key']!r}, not by {key!r} or not with the same weights and"
            " preprocessing; scores of the two have nothing in common."
        )
