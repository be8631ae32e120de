"""CORAL: the covariance of a site is turned into that of the reference, so that directions match, not only axes.

Sun, Feng and Saenko, AAAI 2016, arXiv:1511.05547, with the mean aligned too, and whitened in the frame of the
reference, where a site that is like it is left as it is. A site of few slides has no covariance worth the name: it goes
part of the way, n / (n + 10) for n slides, along the shortest path from the reference's covariance to its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mil.cohort.source import BagSource
from mil.errors import CalibrationError
from mil.trust.streaming import slide_pieces

Vector = NDArray[np.float64]
PRIOR_SLIDES = 10.0
"""A site of so many slides goes half the way."""
RIDGE = 0.01
"""Share of the mean variance added to every direction, so that none is divided by nothing (Sun: identity)."""


@dataclass(frozen=True, eq=False)
class Turned:
    """A map of the tiles of one site."""

    matrix: NDArray[np.float32]
    """[D, D]."""
    before: NDArray[np.float32]
    """Mean of the site [D]."""
    after: NDArray[np.float32]
    """Mean of the reference [D]."""

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Standardise.

        Args:
            features: [n, D].

        Returns:
            [n, D].
        """
        return np.asarray((features - self.before) @ self.matrix + self.after, np.float32)


@dataclass(frozen=True, eq=False)
class Coral:
    """Mean and covariance of tiles, each slide counting once."""

    mean: Vector
    """[D]."""
    covariance: Vector
    """[D, D]."""
    slides: int

    def map(self, site: Coral) -> Turned:
        """Make a site like this reference.

        Args:
            site: Of the site's slides alone, seen in training or not.

        Returns:
            The map.

        Raises:
            CalibrationError: The site is of another width.
        """
        if site.mean.shape != self.mean.shape:
            raise CalibrationError(f"The reference has {len(self.mean)} numbers a tile, the site {len(site.mean)}.")
        level = max(float(np.trace(self.covariance)) / len(self.mean), 1e-12)
        ridge = RIDGE * level * np.eye(len(self.mean))
        root, back = _power(self.covariance + ridge, 0.5), _power(self.covariance + ridge, -0.5)
        own = back @ (site.covariance + ridge) @ back  # 1 where the site is like the reference
        matrix = back @ _power(own, -0.5 * site.slides / (site.slides + PRIOR_SLIDES)) @ root
        return Turned(matrix.astype(np.float32), site.mean.astype(np.float32), self.mean.astype(np.float32))


def fit_coral(source: BagSource, rows: Iterable[int]) -> Coral:
    """Read slides once and sum up their tiles.

    Args:
        source: Of the slides.
        rows: Which: of all sites or one as the reference, of one site to map it.

    Returns:
        Mean and covariance.

    Raises:
        CalibrationError: There is no slide.
    """
    count, total = 0, np.zeros(source.width)
    products = np.zeros((source.width, source.width))
    for row in rows:
        for _, narrow in slide_pieces(source, row):
            part = narrow.astype(np.float64)
            total += part.sum(axis=0) / source.sizes[row]
            products += part.T @ part / source.sizes[row]
        count += 1
    if not count:
        raise CalibrationError("A site needs one slide at least.")
    mean = total / count
    return Coral(mean, products / count - np.outer(mean, mean), count)


def _power(matrix: Vector, exponent: float) -> Vector:
    values, axes = np.linalg.eigh(matrix)
    return np.asarray((axes * np.maximum(values, 1e-12) ** exponent) @ axes.T)
