"""The features of one slide from one encoder, as they come in: in any order, from any thread."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from foundation.features import usable


class Sheet:
    """Collects rows until all are there or one fails.

    Args:
        settled: Called once, by whoever brings the last row or the error.
    """

    def __init__(self, settled: Callable[[Sheet], None]) -> None:
        self.error: Exception | None = None
        self._settled = settled
        self._lock = threading.Lock()
        self._tickets: list[NDArray[np.int64]] = []
        self._rows: list[NDArray[np.float16]] = []
        self._have, self._expected, self._told = 0, -1, False

    def add(self, tickets: NDArray[np.int64], rows: NDArray[np.float32]) -> None:
        """Add features; ones that cannot be used fail the sheet.

        Args:
            tickets: Which tiles, [n].
            rows: [n, D].
        """
        try:
            stored = usable(rows)
        except Exception as error:  # noqa: BLE001 - it is this slide's, and must not stop the lane
            self.fail(error)
            return
        with self._lock:
            if self.error is None:
                self._tickets.append(tickets)
                self._rows.append(stored)
                self._have += len(tickets)
        self._look()

    def expect(self, count: int) -> None:
        """Say how many tiles the slide has, when all of them are on their way.

        Args:
            count: Rows that will have come in the end.
        """
        with self._lock:
            self._expected = count
        self._look()

    def fail(self, error: Exception) -> None:
        """Give the sheet up; the first error counts, and none after all rows have come.

        Args:
            error: Why.
        """
        let_go(error)
        with self._lock:
            if self.error is None and self._have != self._expected:
                self.error = error
                self._tickets, self._rows = [], []
        self._look()

    def features(self, tickets: NDArray[np.int64], dim: int) -> NDArray[np.float16]:
        """The rows of some tiles.

        Args:
            tickets: Which, [N].
            dim: D.

        Returns:
            [N, D].
        """
        if not len(tickets):
            return np.zeros((0, dim), np.float16)
        have, rows = np.concatenate(self._tickets), np.concatenate(self._rows)
        order = np.argsort(have)
        return np.asarray(rows[order[np.searchsorted(have, tickets, sorter=order)]])

    def clear(self) -> None:
        """Let go of the rows: they are written."""
        self._tickets, self._rows = [], []

    def _look(self) -> None:
        with self._lock:
            over = not self._told and (self.error is not None or self._have == self._expected)
            self._told = self._told or over
        if over:
            self._settled(self)


def let_go(error: Exception) -> None:
    """Empty the frames that an error came through: it is kept to the end of a run, and their pixels must not be.

    Args:
        error: Its traceback goes on saying where it came from.
    """
    link: BaseException | None = error
    while link is not None:
        traceback.clear_frames(link.__traceback__)
        link = link.__cause__ or link.__context__
