"""The short cut for heads that average: any part of a slide is scored from what each tile added to the whole.

A head whose logit is b + sum_i w_i v_i / sum_i w_i, with w_i and v_i of tile i alone (mean pooling, attention pooling
with one head and a linear read-out), gives alpha_i = w_i / sum w and contributions alpha_i v_i. Removing tiles only
renormalises the weights, so the score of a part S is b + sum_S alpha_i v_i / sum_S alpha_i: no tile is embedded twice,
and leave-one-out costs N additions in place of N passes.

Whether a head averages is not asked but tried: the formula must give what the head gives, on parts of this slide. Both
sides are analytic in the features nearly everywhere, so a head that does not average fails on the first part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mil.why.asked import Asked, Subset

LEAST = 1e-6
"""Least attention that a part must have had; below it, float32 has rounded too much away, and the head is run."""
TOLERANCE = 1e-4
"""How far formula and head may lie apart, in logits and relative: what float32 rounds."""
MOST_PASSES = 1024
"""Tiles up to which a head that does not average is run once for each: N passes over N tiles."""


@dataclass(frozen=True, eq=False)
class Averaging:
    """Scores parts of a slide by the formula."""

    asked: Asked
    parts: NDArray[np.float64]
    """What each tile added to the logit [N]."""
    weights: NDArray[np.float64]
    """Attention of each tile [N]."""

    @property
    def count(self) -> int:
        """Tiles N of the slide."""
        return self.asked.count

    def scores(self, subsets: Sequence[Subset]) -> NDArray[np.float64]:
        """Score parts of the slide.

        Args:
            subsets: K of them.

        Returns:
            One logit a part [K].
        """
        share = np.array([self.weights[tiles].sum() for tiles in subsets])
        added = np.array([self.parts[tiles].sum() for tiles in subsets])
        found = self.asked.bias + added / np.maximum(share, LEAST)
        if (lost := np.flatnonzero(share < LEAST)).size:
            found[lost] = self.asked.scores([subsets[row] for row in lost.tolist()])
        return np.asarray(found)

    def without_each(self) -> NDArray[np.float64]:
        """Score the slide without each tile in turn.

        Returns:
            One logit a tile [N]; of a slide of one tile, the bias.
        """
        if self.count == 1:
            return self.asked.without_each()
        share = self.weights.sum() - self.weights
        found = self.asked.bias + (self.parts.sum() - self.parts) / np.maximum(share, LEAST)
        if (lost := np.flatnonzero(share < LEAST)).size:
            found[lost] = self.asked.scores([np.delete(np.arange(self.count), tile) for tile in lost])
        return np.asarray(found)


def scorer_of(asked: Asked) -> Asked | Averaging:
    """Find the cheapest exact way to score parts of a slide.

    Args:
        asked: Head and slide.

    Returns:
        The short cut where the head averages, else the head itself.
    """
    parts, weights = asked.whole.contributions, asked.whole.attention
    if parts is None or weights is None or asked.count < 3:
        return asked
    quick = Averaging(asked, parts[0, :, asked.output].double().numpy(), weights[0].double().numpy())
    tried = _parts(quick.weights)
    agree = np.allclose(quick.scores(tried), asked.scores(tried), rtol=TOLERANCE, atol=TOLERANCE)
    return quick if agree else asked


def is_cheap(scorer: Asked | Averaging) -> bool:
    """Say whether a slide can be scored many times.

    Args:
        scorer: The cheapest exact way to score parts of it.

    Returns:
        True for a head that averages, and for few tiles.
    """
    return isinstance(scorer, Averaging) or scorer.count <= MOST_PASSES


def _parts(weights: NDArray[np.float64]) -> list[Subset]:
    """All but the most attended tile, one half of the tiles, and the other."""
    luck = np.random.default_rng(0).permutation(len(weights))
    half = len(weights) // 2
    return [np.delete(np.arange(len(weights)), int(weights.argmax())), np.sort(luck[:half]), np.sort(luck[half:])]
