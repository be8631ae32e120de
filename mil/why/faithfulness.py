"""Is a map what the score rests on? Remove tiles in its order and see how the score follows.

Where the most relevant tiles go first the score should fall at once; where the least relevant go first it should hold
or rise. The area between the two curves is the figure (patch flipping: Samek et al., IEEE TNNLS 2017,
arXiv:1509.06321; both orders: Blücher, Vielhaben, Strodthoff, TMLR 2024, arXiv:2401.06654). By itself an area means
little, so random orders of the same slide, each against its reverse, stand beside it: an honest map lies far above.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mil.why.asked import Scorer

FRACTIONS = 20
"""Points of a curve: 0, 5, ... 95 % of the tiles removed. At 100 % nothing is left to tell the orders apart."""
ORDERS, FEW_ORDERS = 10, 3
"""Random orders of the reference, and where a score takes long; each is walked in both directions."""


@dataclass(frozen=True, eq=False)
class Faithfulness:
    """How the score follows the map."""

    area: float
    """Between the curves, least-relevant-first above most-relevant-first, in logits."""
    random_area: float
    """Mean of the same for random orders; about 0."""
    random_sd: float
    """Their standard deviation."""
    removed: NDArray[np.float64]
    """Share of the tiles removed [F]."""
    most_first: NDArray[np.float64]
    """Score where the most relevant tiles go first [F]."""
    least_first: NDArray[np.float64]
    """Score where the least relevant tiles go first [F]."""
    random_first: NDArray[np.float64]
    """Mean score over the random orders [F]."""

    def to_json(self) -> dict[str, object]:
        """A JSON document.

        Returns:
            Field name -> number or list.
        """
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in vars(self).items()}


def flip(scorer: Scorer, values: NDArray[np.floating], orders: int = ORDERS) -> Faithfulness:
    """Remove tiles in the order of a map, in the reverse, and in random orders.

    Args:
        scorer: What scores parts of the slide.
        values: The map [N]; among equal values the order is that of the tiles.
        orders: How many random ones.

    Returns:
        The figure and its curves; all 0 for a slide of one tile.
    """
    rng = np.random.default_rng(0)
    order = np.argsort(-values, kind="stable")
    most, least = _curve(scorer, order), _curve(scorer, order[::-1])
    luck = [rng.permutation(scorer.count) for _ in range(orders)]
    pairs = [(_curve(scorer, one), _curve(scorer, one[::-1])) for one in luck]
    areas = [_area(first, second) for first, second in pairs]
    return Faithfulness(
        area=_area(most, least),
        random_area=float(np.mean(areas)),
        random_sd=float(np.std(areas)),
        removed=np.arange(FRACTIONS) / FRACTIONS,
        most_first=most,
        least_first=least,
        random_first=np.mean(pairs, axis=(0, 1)),
    )


def _curve(scorer: Scorer, order: NDArray[np.int64]) -> NDArray[np.float64]:
    """Score after each share of the tiles is removed, at least one is left [F]."""
    gone = np.arange(FRACTIONS) * scorer.count // FRACTIONS
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return scorer.scores([np.flatnonzero(rank >= count) for count in gone])


def _area(most: NDArray[np.float64], least: NDArray[np.float64]) -> float:
    """Trapezoid over the share removed; the curves meet where everything is removed."""
    return float(np.trapezoid(np.append(least - most, 0.0), dx=1 / FRACTIONS))
