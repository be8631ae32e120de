"""Tiles and slides unlike those of training: the gate before any score, because sets promise nothing beyond it.

A tile is outlying where its Mahalanobis distance or that to its 50th neighbour is larger than 99.5 % of held-out
training tiles', so that at most about 1 % of usual tiles are. A slide is outlying where more of its tiles are, or its
mean lies further out, than in 99 % of training slides, each judged by models of other patients.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mil.errors import BagError, EmptyBagError
from mil.trust.gaussian import Gaussian
from mil.trust.neighbours import Neighbours


@dataclass(frozen=True)
class Limits:
    """What is still usual, from held-out patients of the training cohort."""

    mahalanobis: float
    """Of a tile."""
    neighbour: float
    """Of a tile."""
    share: float
    """Outlying tiles of a slide, 0 to 1."""
    slide: float
    """Mahalanobis distance of a slide's mean."""
    slides: int
    """The last two are of so many slides; of fewer than 99 they are the largest seen."""


@dataclass(frozen=True, eq=False)
class Unlikeness:
    """How unlike training a slide is. Research use only."""

    share: float
    """Outlying tiles."""
    distance: float
    """Of the slide's mean."""
    reasons: tuple[str, ...]
    """Why it is outlying; () where it is not. What `verdict` takes as `outlying`."""


@dataclass(frozen=True, eq=False)
class Outliers:
    """Models of the training cohort's tiles and slides."""

    tile: Gaussian
    neighbours: Neighbours
    slide: Gaussian
    limits: Limits
    encoder: str = ""
    """Of the features."""

    def tiles(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """How outlying tiles are, in units of what is still usual.

        Args:
            features: [n, D].

        Returns:
            [n]; above 1 is outlying.

        Raises:
            BagError: The features are of another width.
        """
        if features.ndim != 2 or features.shape[1] != len(self.tile.mean):
            raise BagError(f"Outliers are of {len(self.tile.mean)} numbers a tile, not of features {features.shape}.")
        far = self.tile.distances(features) / self.limits.mahalanobis
        return np.maximum(far, self.neighbours.distances(features) / self.limits.neighbour)

    def judge(self, parts: Iterable[NDArray[np.float32]]) -> Unlikeness:
        """Judge a slide or a case.

        Args:
            parts: Its tiles, in pieces of any size [n, D].

        Returns:
            Share of outlying tiles, distance of the mean, and the reasons if it is outlying.

        Raises:
            EmptyBagError: There is no tile.
        """
        count, outlying, total = 0, 0, np.zeros(len(self.tile.mean))
        for part in parts:
            count += len(part)
            outlying += int((self.tiles(part) > 1.0).sum())
            total += part.sum(axis=0, dtype=np.float64)
        if not count:
            raise EmptyBagError("The slide has no tile to judge.")
        distance = float(self.slide.distances(total[None] / count)[0])
        return Unlikeness(outlying / count, distance, self._reasons(outlying / count, distance))

    def _reasons(self, share: float, distance: float) -> tuple[str, ...]:
        reasons = []
        if share > self.limits.share:
            usual = f"in training slides at most {self.limits.share:.0%} are"
            reasons.append(f"{share:.0%} of its tiles are unlike those of training ({usual})")
        if distance > self.limits.slide:
            times = distance / self.limits.slide
            reasons.append(f"as a whole it lies {times:.1f} times as far out as training slides do")
        return tuple(reasons)
