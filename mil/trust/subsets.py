"""How much a score hangs on which tiles were cut: the mean and spread over random halves of the bag.

The halves are drawn from a seed that the tiles themselves give, so that the same slide always gets the same answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mil.errors import EmptyBagError

TIMES, SHARE = 20, 0.5


@dataclass(frozen=True, eq=False)
class Subsets:
    """Logits over subsets of the tiles of one bag."""

    mean: NDArray[np.float64]
    """[C]."""
    spread: NDArray[np.float64]
    """Standard deviation [C]; NaN of a bag of one tile, which has no subsets."""
    times: int


def score_subsets(
    features: NDArray[np.float32],
    score: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    *,
    times: int = TIMES,
    share: float = SHARE,
) -> Subsets:
    """Score random subsets of a bag.

    Args:
        features: The bag [N, D].
        score: From tiles [n, D] to logits [C].
        times: How many subsets, two or more.
        share: Of the tiles in each, above 0 and at most 1; at least one tile.

    Returns:
        Mean and spread of the logits.

    Raises:
        EmptyBagError: The bag has no tile.
    """
    count = len(features)
    if not count:
        raise EmptyBagError("The slide has no tile to score.")
    if count == 1:
        alone = np.asarray(score(features), np.float64)
        return Subsets(alone, np.full(alone.shape, np.nan), 1)
    content = hashlib.sha256(np.ascontiguousarray(features).tobytes()).digest()
    rng = np.random.default_rng(np.frombuffer(content, np.uint32))
    size = min(max(round(count * share), 1), count)
    each = np.stack([score(features[np.sort(rng.choice(count, size, replace=False))]) for _ in range(times)])
    return Subsets(each.mean(axis=0, dtype=np.float64), each.std(axis=0, dtype=np.float64, ddof=1), times)
