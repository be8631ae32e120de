"""From low zoom to high: a cheap head looks at all of the tissue and sends only a part of it to the expensive encoder.

The idea of a low zoom that chooses is that of ZoomMIL (Thandiackal et al., ECCV 2022, arXiv:2204.12454); here nothing
is learnt through the choice, and a random share of the rest is looked at too, so that what was skipped is estimated
and said, never assumed to be nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mil.bag import Bag
from mil.batch import pin_threads
from mil.errors import BagError
from mil.infer import require_fitting
from mil.train import Fit
from mil.why.asked import Asked
from mil.why.explain import explain
from mil.zoom.choice import CascadeSpec, Choice, choose
from mil.zoom.estimate import Estimate, estimate

NOTICE = "Research use only. Not for diagnosis."
Encode = Callable[[NDArray[np.int64]], Bag]
"""From rows of the fine grid, ascending, to the bag of these tiles: the expensive step."""


@dataclass(frozen=True, eq=False)
class CascadeResult:
    """What a cascade found, and what it did not look at."""

    logit: float
    """Of the fine head on the tiles that were encoded because they scored highest."""
    estimate: Estimate
    """Of what was skipped."""
    choice: Choice
    """Of the low-zoom tiles."""
    encoded: NDArray[np.int64]
    """Rows of the fine grid that were encoded, ascending."""
    fine_tiles: int
    """Tiles of the fine grid, encoded or not."""
    bag: Bag
    """The encoded tiles."""

    @property
    def skipped_share(self) -> float:
        """Share of the fine tiles that the expensive encoder never saw."""
        return 1 - len(self.encoded) / self.fine_tiles

    def to_json(self) -> dict[str, object]:
        """What a report must say.

        Returns:
            Counts, shares, logits and their estimated loss.
        """
        return {
            "notice": NOTICE,
            "low_tiles": {name: len(rows) for name, rows in vars(self.choice).items()},
            "fine_tiles": self.fine_tiles,
            "encoded": len(self.encoded),
            "skipped": self.fine_tiles - len(self.encoded),
            "skipped_share": self.skipped_share,
            "logit": self.logit,
            **vars(self.estimate),
        }


def run_cascade(
    spec: CascadeSpec, fits: tuple[Fit, Fit], low: Bag, parent: NDArray[np.int64], encode: Encode
) -> CascadeResult:
    """Look at a slide from afar, then closely where it matters.

    Bags that the heads were not fitted to, also what `encode` gives, end in a `BagError`.

    Args:
        spec: How much is looked at closely.
        fits: The cheap head of the low zoom and the head of the fine one.
        low: All tiles of the low zoom.
        parent: For each fine tile the row of `low` that holds it [F]; a tile that none holds (-1) is encoded, for
            nobody looked at it.
        encode: Called once, with the chosen rows.

    Returns:
        The score, and what was skipped.

    Raises:
        BagError: There is no fine tile, the index leads beyond the low zoom, or `encode` gave other tiles than asked.
    """
    cheap, fine = fits
    if not parent.size or parent.max() >= len(low) or parent.min() < -1:
        raise BagError("The parents of the fine tiles are not rows of the low zoom.")
    choice = choose(explain(cheap, low).values, spec)
    chance = np.isin(parent, choice.random)
    rows = np.flatnonzero(np.isin(parent, choice.top) | (parent < 0) | chance)
    if not rows.size:
        raise BagError("No fine tile lies in a chosen tile of the low zoom.")
    bag = encode(rows)
    require_fitting(fine, bag)
    if len(bag) != len(rows):
        raise BagError(f"{len(rows)} tiles were to be encoded, and {len(bag)} were.")
    pin_threads()
    asked = Asked(fine.head, bag.features)
    clusters = np.where(chance[rows], parent[rows], -1)
    found = estimate(asked, clusters, choice)
    return CascadeResult(found.chosen, found, choice, rows, len(parent), replace(bag, label=low.label))
