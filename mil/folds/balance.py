"""How far folds are from balance.

The measure is the L1 form of Howard et al. (Nat Commun 2021, 12:4423): the sum over folds f and strata v of
|n_fv - w_f N_v|, n the cases of the fold, N all cases and w the share that the fold shall have. A stratum that a fold
lacks altogether costs more than any imbalance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mil.folds.groups import Groups

NEAR: Final = 1e-9
"""Differences of the measure below it are rounding."""


@dataclass(frozen=True, eq=False)
class Balance:
    """The measure, for some groups and shares."""

    groups: Groups
    shares: NDArray[np.float64]
    """Of each fold [folds]; they add up to 1."""

    @property
    def target(self) -> NDArray[np.float64]:
        """Cases that each fold shall have of each stratum [folds, strata]."""
        return np.asarray(self.shares[:, None] * self.groups.counts.sum(axis=0))

    def load(self, folds: NDArray[np.int64]) -> NDArray[np.int64]:
        """Cases of each fold in each stratum.

        Args:
            folds: Fold of each group [groups].

        Returns:
            [folds, strata].
        """
        load = np.zeros((len(self.shares), len(self.groups.strata)), np.int64)
        np.add.at(load, folds, self.groups.counts)
        return load

    def of(self, load: NDArray[np.int64], target: NDArray[np.float64]) -> NDArray[np.float64]:
        """The measure of single folds.

        Args:
            load: [..., strata].
            target: [..., strata].

        Returns:
            [...].
        """
        missing = ((load <= 0) & self.groups.required).sum(axis=-1)
        return np.asarray(np.abs(load - target).sum(axis=-1) + 2.0 * len(self.groups.of) * missing)

    def total(self, folds: NDArray[np.int64]) -> float:
        """The measure.

        Args:
            folds: Fold of each group [groups].

        Returns:
            0 for perfect balance.
        """
        return float(self.of(self.load(folds), self.target).sum())

    def lacking(self, folds: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which strata some fold lacks, though each must have them.

        Args:
            folds: Fold of each group [groups].

        Returns:
            [strata].
        """
        return np.asarray(((self.load(folds) == 0) & self.groups.required).any(axis=0))

    def bounds(self) -> NDArray[np.float64]:
        """What no folds can beat, as cases cannot be divided.

        Returns:
            For each stratum the measure if it were spread over the folds case by case [strata].
        """
        rest = np.sort(self.target % 1.0, axis=0)[::-1]  # the folds with the largest rest get one case more
        more = np.arange(len(rest))[:, None] < np.rint(rest.sum(axis=0))
        return np.asarray(np.where(more, 1.0 - rest, rest).sum(axis=0))

    def is_best(self, folds: NDArray[np.int64]) -> bool:
        """Whether no folds can be better.

        Args:
            folds: Fold of each group [groups].

        Returns:
            True if these reach the bounds.
        """
        return self.total(folds) <= float(self.bounds().sum()) + NEAR
