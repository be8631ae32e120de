"""The best rows of a search, exactly, from bounds on their scores."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

MOST = 16_384
"""Candidates kept before they are settled: some hundred KB, however large the index."""
BATCH = 512
"""Rows whose true scores are read at once."""

Truth = Callable[[NDArray[np.int64]], NDArray[np.float32]]
"""Row numbers, ascending [n] -> true scores [n]."""


class Best:
    """The k best of all rows that it is shown, ties by row number; nothing that could be among them is ever dropped.

    Every row comes with an interval that holds its true score. Let f be the k-th largest of all lower ends and true
    scores so far. k rows reach f, so a row whose upper end is below f is not among the k best, whatever comes later:
    f only rises. All others are kept until their true scores are read, the most promising first, which raises f again.
    `left_out_at_most` is the largest upper end among rows whose true score was never read: it is below the k-th best
    score, which anybody can check.

    Args:
        k: How many, 1 or more.
        truth: Where true scores come from.
    """

    def __init__(self, k: int, truth: Truth) -> None:
        self.k = k
        self.rescored = 0
        """Rows whose true score was read."""
        self.left_out_at_most = -np.inf
        self._truth = truth
        self._rows = np.empty(0, np.int64)
        self._upper = np.empty(0, np.float64)
        self._lower = np.empty(0, np.float64)
        self._found = np.empty(0, np.int64)
        self._scores = np.empty(0, np.float32)
        self._floor = -np.inf

    def show(self, first: int, lower: NDArray[np.float64], upper: NDArray[np.float64]) -> None:
        """Take a block of rows.

        Args:
            first: Number of its first row; blocks come in any order.
            lower: What the true scores are at least [n].
            upper: What they are at most [n].
        """
        keep = np.flatnonzero(upper >= self._floor)
        if len(keep) < len(upper):
            self._leave(np.delete(upper, keep))
        if not len(keep):
            return
        self._rows = np.concatenate([self._rows, keep + first])
        self._upper = np.concatenate([self._upper, upper[keep]])
        self._lower = np.concatenate([self._lower, lower[keep]])
        if len(self._rows) > MOST or not np.isfinite(self._floor):
            self._prune()
        if len(self._rows) > MOST:
            self._settle()

    def result(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Read what is left to be read.

        Returns:
            Row numbers and true scores of the best, the best first; fewer than k where there are fewer rows.
        """
        self._settle()
        return self._found, self._scores

    def _prune(self) -> None:
        """Raise the floor and drop what fell below it."""
        lows = np.concatenate([self._lower, self._scores.astype(np.float64)])
        if len(lows) >= self.k:
            self._floor = max(self._floor, float(np.partition(lows, len(lows) - self.k)[len(lows) - self.k]))
        self._keep(self._upper >= self._floor)

    def _keep(self, keep: NDArray[np.bool_]) -> None:
        self._leave(self._upper[~keep])
        self._rows, self._upper, self._lower = self._rows[keep], self._upper[keep], self._lower[keep]

    def _leave(self, upper: NDArray[np.float64]) -> None:
        self.left_out_at_most = max(self.left_out_at_most, float(upper.max(initial=-np.inf)))

    def _settle(self) -> None:
        """Read true scores, those that may be highest first, until none that is left could matter."""
        self._prune()
        while len(self._rows):
            size = min(len(self._rows), max(BATCH, 2 * self.k))
            chosen = np.argpartition(-self._upper, size - 1)[:size]
            self._add(np.sort(self._rows[chosen]))
            rest = np.ones(len(self._rows), np.bool_)
            rest[chosen] = False
            self._rows, self._upper, self._lower = self._rows[rest], self._upper[rest], self._lower[rest]
            self._prune()

    def _add(self, rows: NDArray[np.int64]) -> None:
        self.rescored += len(rows)
        found = np.concatenate([self._found, rows])
        scores = np.concatenate([self._scores, self._truth(rows)])
        best = np.lexsort((found, -scores))[: self.k]
        self._found, self._scores = found[best], scores[best]
