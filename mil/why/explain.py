"""The verb: why one head, or several that vote, scored a slide as they did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mil.bag import Bag
from mil.batch import pin_threads
from mil.errors import ExperimentError
from mil.infer import require_fitting
from mil.train import Fit
from mil.why.asked import Asked, Subset
from mil.why.averaging import Averaging, is_cheap, scorer_of
from mil.why.explanation import Explanation
from mil.why.faithfulness import FEW_ORDERS, ORDERS, flip
from mil.why.methods import find_method, fitting_method


@dataclass(frozen=True, eq=False)
class Vote:
    """Scores parts of a slide by the mean logit of several heads."""

    members: Sequence[Asked | Averaging]

    @property
    def count(self) -> int:
        """Tiles N of the slide."""
        return self.members[0].count

    def scores(self, subsets: Sequence[Subset]) -> NDArray[np.float64]:
        """Score parts of the slide.

        Args:
            subsets: K of them.

        Returns:
            Mean logit of each part [K].
        """
        return np.asarray(np.mean([member.scores(subsets) for member in self.members], axis=0))


def explain(fit: Fit | Sequence[Fit], bag: Bag, method: str | None = None, *, output: int = 0) -> Explanation:
    """Say what each tile did for the score of a slide, and how far that can be believed.

    A bag of another encoder, other zooms or another width ends in a `BagError`, and a method that a head cannot give
    (contributions of a head that is not a sum over tiles) in a `HeadError`.

    Args:
        fit: One fitted head, or the members of an ensemble.
        bag: Made by the encoder and at the zooms they were fitted to.
        method: A name in `mil.why.methods.METHODS`; None takes contributions where the (first) head gives them, else
            leave-one-out.
        output: Which logit.

    Returns:
        The map (mean and deviation over members), the method, and the faithfulness of the map.

    Raises:
        ExperimentError: There is no fit, no such method, or no such output.
    """
    fits = [fit] if isinstance(fit, Fit) else list(fit)
    if not fits or not all(0 <= output < one.head.out_dim for one in fits):
        raise ExperimentError(f"There is no head with an output {output} to explain.")
    for one in fits:
        require_fitting(one, bag)
    pin_threads()
    asked = [Asked(one.head, bag.features, output) for one in fits]
    scorers = [scorer_of(one) for one in asked]
    name = method or fitting_method(asked[0], scorers[0])
    found = [find_method(name)(one, scorer) for one, scorer in zip(asked, scorers, strict=True)]
    maps = np.stack([one.values for one in found])
    values = maps.mean(axis=0)
    return Explanation(
        values=values,
        method=name,
        logit=float(np.mean([one.logit for one in asked])),
        faithfulness=flip(Vote(scorers), values, ORDERS if all(map(is_cheap, scorers)) else FEW_ORDERS),
        coords=bag.coords,
        gap=max((one.gap for one in found if one.gap is not None), default=None),
        sd=maps.std(axis=0) if len(fits) > 1 else None,
    )


explain_tiles = explain
"""Its name as a verb of `mil`."""
