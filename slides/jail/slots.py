"""Shared memory for pixels: the child decodes straight into it, the parent hands it out without a copy.

A slot is an anonymous file that the parent alone can resize: it is sealed against shrinking, so no child can make the
parent fault on memory that is gone.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import weakref
from collections import deque
from typing import TYPE_CHECKING, Final

import numpy as np

from slides.errors import SlideError

if TYPE_CHECKING:
    from numpy.typing import NDArray

KEPT_BYTES: Final = 64 << 20
"""Memory that a slot keeps for the next answer: a block of tiles. What is larger goes back to the system."""
GRAIN: Final = 1 << 20
CLOSED: Final = -1


class Slot:
    """One piece of shared memory, seen from the parent.

    Args:
        number: What requests call it.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self._map: mmap.mmap | None = None
        self.handle = os.memfd_create("oncoscope", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        fcntl.fcntl(self.handle, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)

    def grow(self, length: int) -> int:
        """Make room for an answer.

        Args:
            length: Bytes.

        Returns:
            Bytes that the slot has now.

        Raises:
            SlideError: If the slot is closed, or the machine has no room.
        """
        self._require_open()
        if self._map is None or len(self._map) < length:
            whole = -(-length // GRAIN) * GRAIN
            try:
                if os.fstat(self.handle).st_size < whole:
                    os.ftruncate(self.handle, whole)
                self._map = mmap.mmap(self.handle, whole)
            except OSError as error:
                msg = "this machine has no memory or no open files left for the pixels of a slide"
                raise SlideError(msg) from error
        return len(self._map)

    def pixels(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """The answer, as it lies there.

        Args:
            shape: Of the array; it must fit.

        Returns:
            An array over the shared memory; none of a slot that is closed.
        """
        self._require_open()
        return np.ndarray(shape, np.uint8, buffer=self._map)

    def shrink(self) -> None:
        """Give memory back that the next answer is unlikely to need."""
        whole = self._map
        if whole is not None and len(whole) > KEPT_BYTES:
            whole.madvise(mmap.MADV_REMOVE)

    def close(self) -> None:
        """Forget the file; arrays over it stay good."""
        handle, self.handle, self._map = self.handle, CLOSED, None
        if handle != CLOSED:
            os.close(handle)

    def _require_open(self) -> None:
        """Without memory, numpy would invent some; a number of a closed file is soon another file's.

        Raises:
            SlideError: If the slot is closed.
        """
        if self.handle == CLOSED:
            msg = "the slide is closed"
            raise SlideError(msg)


class Slots:
    """The slots of one child.

    Args:
        threads: Requests that may be under way; so many slots are never lent.
        lent: Answers that callers may hold without a copy.
    """

    def __init__(self, threads: int, lent: int) -> None:
        self._threads = threads
        self.all: list[Slot] = []
        try:
            for number in range(threads + lent):
                self.all.append(Slot(number))
        except BaseException:
            self.close()
            raise
        self._free = deque(self.all)  # its append and pop are atomic, also inside a finalizer

    def take(self) -> Slot:
        """The slot that was used last: its memory is warm. There is always one for a request.

        Returns:
            A slot of the caller's own.
        """
        return self._free.pop()

    def give(self, slot: Slot) -> None:
        """Take a slot back.

        Args:
            slot: One that was taken.
        """
        slot.shrink()
        self._free.append(slot)

    def hand_out(self, slot: Slot, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Give an answer to a caller: the memory itself, which comes back when the last array over it is gone.

        Args:
            slot: A taken slot that holds the answer; it is given back by this.
            shape: Of the answer.

        Returns:
            The pixels; a copy where callers already hold as many slots as may be lent.
        """
        pixels = slot.pixels(shape)
        if len(self._free) < self._threads:
            pixels = pixels.copy()
            self.give(slot)
            return pixels
        weakref.finalize(pixels, self.give, slot).atexit = False
        return pixels

    def close(self) -> None:
        """Forget all slots."""
        for slot in self.all:
            slot.close()
