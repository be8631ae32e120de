"""ComBat in embedding space: what a site adds to and multiplies every tile with is estimated and taken away.

Johnson, Li and Rabinovic, Biostatistics 8:118, 2007, with slides as samples: y = alpha + X beta + gamma_site +
delta_site * sigma * noise. A site is estimated from its own slides alone, without labels, so one never seen in training
can be. Covariates X (cancer type, say) keep what they explain; the label that is judged must never be one, for the
result would then know it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mil.errors import CalibrationError
from mil.trust.moments import Moments
from mil.trust.priors import shrink

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Straight:
    """A map of the tiles of one slide: dimension by dimension, a scale and a shift."""

    scale: Vector
    """[D]."""
    shift: Vector
    """[D]."""

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Standardise.

        Args:
            features: [n, D].

        Returns:
            [n, D].
        """
        return (features * self.scale + self.shift).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Combat:
    """What is common to all sites."""

    alpha: Vector
    """Mean [D]."""
    beta: Vector
    """Effect of each covariate [P, D], which is kept."""
    sigma: Vector
    """Standard deviation of tiles [D]."""

    def maps(self, moments: Moments, covariates: Vector | None = None) -> list[Straight]:
        """Estimate one site from its slides.

        Args:
            moments: Of all slides of the site, seen in training or not.
            covariates: Of these slides [slides, P]; None where there were none.

        Returns:
            One map a slide; they differ only by what the covariates explain.

        Raises:
            CalibrationError: There is no slide, or the covariates or the width are not those of the fit.
        """
        count = len(moments.means)
        given = np.zeros((count, 0)) if covariates is None else covariates
        if not count or given.shape != (count, len(self.beta)) or moments.means.shape[1] != len(self.alpha):
            raise CalibrationError(
                f"A site needs slides of {len(self.alpha)} numbers and {len(self.beta)} covariates each; "
                f"given are {moments.means.shape} and {given.shape}."
            )
        kept = self.alpha + given @ self.beta
        gamma, square = shrink((moments.means - kept) / self.sigma, moments.variances / self.sigma**2)
        delta = np.sqrt(square)
        return [Straight(1 / delta, -(row + gamma * self.sigma) / delta + row) for row in kept]


def fit_combat(
    moments: Moments,
    sites: Sequence[str],
    covariates: Vector | None = None,
    *,
    reference: str | None = None,
) -> Combat:
    """Estimate what is common to the sites of a training cohort.

    Args:
        moments: Of its slides.
        sites: Site of each slide.
        covariates: What is to be kept [slides, P], without a constant.
        reference: A site that all are made like; None: the mean of all slides.

    Returns:
        The common part; `Combat.maps` estimates a site.

    Raises:
        CalibrationError: The arrays do not fit together, the reference is no site, or the covariates cannot be told
            from the sites.
    """
    count = len(moments.means)
    given = np.zeros((count, 0)) if covariates is None else covariates
    if len(sites) != count or len(given) != count or not count:
        raise CalibrationError(f"{count} slides need as many sites and covariates; {len(sites)} and {len(given)} are.")
    names, row = np.unique(np.asarray(sites, str), return_inverse=True)
    design = np.hstack([np.eye(len(names))[row], given])
    if np.linalg.matrix_rank(design) < design.shape[1]:
        raise CalibrationError("The covariates cannot be told from the sites: some combination of them is a site.")
    if reference is not None and reference not in names:
        raise CalibrationError("The reference is not a site of the cohort.")
    effects = np.linalg.lstsq(design, moments.means, rcond=None)[0]
    by_site, beta = effects[: len(names)], effects[len(names) :]
    chosen = np.ones(count, np.bool_) if reference is None else np.asarray(sites, str) == reference
    alpha = (np.bincount(row[chosen], minlength=len(names)) / chosen.sum()) @ by_site
    left = moments.means - design @ effects
    square = (moments.variances + left**2)[chosen].mean(axis=0)
    return Combat(alpha, np.asarray(beta), np.sqrt(np.maximum(square, 1e-12)))
