"""From features of tiles to values: how much of each asked thing is in each tile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foundation.prompt_set import PromptSet
from foundation.prompts import tissue_of
from foundation.query import Query, Vectors, unit
from foundation.tissue import TissueHead, shares_of


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """One asked thing, tile by tile."""

    name: str
    meaning: str
    """The tissues it means in the closed vocabulary; otherwise the name itself."""
    raw: NDArray[np.float32]
    """Cosine [N], or the tissue head's output before softmax."""
    probability: NDArray[np.float32]
    """[N] against the rivals."""
    wins: NDArray[np.bool_]
    """Where it is more probable than every rival [N]."""
    background: bool = False
    """Not looked for."""


Measure = Callable[[NDArray[Any]], tuple[Measured, ...]]
"""Features [N, D] -> values; the same for the tiles of a slide and of a background bank."""


def by_head(head: TissueHead, prompts: Sequence[str]) -> Measure:
    """Prompts of the closed vocabulary: the contrast set of a tissue is the other eleven.

    Args:
        head: What tells tissues apart.
        prompts: Words of the vocabulary.

    Returns:
        The measure.
    """
    return _by_tissues(head, [(word, (tissue_of(word),), False) for word in prompts])


def set_by_head(head: TissueHead, asked: PromptSet) -> Measure:
    """Classes of a set in the closed vocabulary: each is the sum of the tissues that its words mean.

    Args:
        head: What tells tissues apart.
        asked: The set; its templates, contrast and unlike-prompts do not matter, for the head weighs all tissues.

    Returns:
        The measure.
    """
    meant = [(one.name, tuple(dict.fromkeys(map(tissue_of, one.words))), one.background) for one in asked.classes]
    return _by_tissues(head, meant)


def _by_tissues(head: TissueHead, meant: Sequence[tuple[str, tuple[str, ...], bool]]) -> Measure:
    def measure(features: NDArray[Any]) -> tuple[Measured, ...]:
        logits = head.logits(features)
        shares = shares_of(logits)
        best = shares.argmax(axis=1)
        found = []
        for name, tissues, background in meant:
            at = [head.names.index(tissue) for tissue in tissues]
            values = (_together(logits[:, at]), shares[:, at].sum(axis=1), np.isin(best, at))
            found.append(Measured(name, ", ".join(tissues), *values, background))
        return tuple(found)

    return measure


def _together(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """The output that one tissue would have in place of several: the logarithm of the sum of exponentials."""
    return np.asarray(np.logaddexp.reduce(logits, axis=1), np.float32)


def by_queries(queries: Sequence[Query], logit_scale: float) -> Measure:
    """Words, by the temperature of the pair that they and the features come from.

    Args:
        queries: What is asked.
        logit_scale: What cosines are multiplied by before softmax.

    Returns:
        The measure.
    """

    def measure(features: NDArray[Any]) -> tuple[Measured, ...]:
        tiles = unit(features)
        return tuple(_weighed(query, tiles, logit_scale) for query in queries)

    return measure


def _weighed(query: Query, tiles: Vectors, logit_scale: float) -> Measured:
    raw, rivals = tiles @ query.vector, tiles @ query.rivals.T
    odds = np.exp(np.minimum(logit_scale * (rivals.astype(np.float64) - raw[:, None]), 700)).sum(axis=1)
    probability = np.asarray(1 / (1 + odds), np.float32)
    return Measured(query.name, query.name, raw, probability, raw > rivals.max(axis=1), query.background)
