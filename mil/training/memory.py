"""Bags that are in memory already, as a source like any other."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mil.bag import Bag
from mil.batch import check_same
from mil.cohort.cohort import Case, Cohort


class BagsInMemory:
    """A source over bags.

    Args:
        bags: Of one encoder, one width and the same zooms; others end in a `BagError` that names the row.
    """

    def __init__(self, bags: Sequence[Bag]) -> None:
        first = check_same(bags)
        self.bags = tuple(bags)
        self.ids = tuple(bag.id for bag in bags)
        self.sizes = np.array([len(bag) for bag in bags], np.int64)
        self.width, self.encoder, self.mpp = int(first.features.shape[1]), first.encoder, first.mpp

    @property
    def fingerprint(self) -> str:
        """sha256 of the features and places, hex."""
        total = hashlib.sha256()
        for bag in self.bags:
            total.update(np.ascontiguousarray(bag.features).data)
            total.update(np.ascontiguousarray(bag.coords).data)
        return total.hexdigest()

    def features(self, row: int, tiles: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """Give the tiles of a bag.

        Args:
            row: Which bag.
            tiles: Which of its tiles; all if None.

        Returns:
            float32 [n, D].
        """
        features = self.bags[row].features
        return features if tiles is None else features[tiles]

    def coords(self, row: int) -> NDArray[np.int64]:
        """Where the tiles are.

        Args:
            row: Which bag.

        Returns:
            int64 [N, 2].
        """
        return self.bags[row].coords


def cohort_of(bags: Sequence[Bag]) -> Cohort:
    """Make each bag a case of its own.

    Args:
        bags: A bag without a patient is a patient of its own.

    Returns:
        The cohort, without a table.
    """
    cases = [
        Case(id=bag.id, patient=bag.patient or f"bag {row}", centre="", slides=(row,), row=row)
        for row, bag in enumerate(bags)
    ]
    return Cohort(BagsInMemory(bags), tuple(cases), {})
