"""Rows of one large array: read where they are, a few at a time, so that memory does not grow with the file.

A small array is held in memory. A large one that is not packed is read in place with positioned reads. They beat a
memory map here: pages of a map count as memory of the process, and a file that is cut off while it is mapped kills it.

A large packed array cannot be read in place: it is unpacked once, in pieces, into a scratch file without a name, which
the system removes whatever happens to this process.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mil.cohort.archive import PIECE, SMALL, Archive, Member
from mil.errors import CohortError

GAP: Final = 64 << 10
"""Bytes between two wanted rows that are rather read than skipped."""


class HeldRows:
    """A table in memory.

    Args:
        table: [rows, D].
    """

    def __init__(self, table: NDArray[Any]) -> None:
        self._table = table

    def read(self, low: int, high: int) -> NDArray[Any]:
        """Rows low to high, without the last.

        Args:
            low: The first.
            high: The one after the last.

        Returns:
            [high - low, D].
        """
        return self._table[low:high].copy()  # whoever changes it does not change the next reader's

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Some rows.

        Args:
            rows: Which, ascending.

        Returns:
            [n, D].
        """
        return np.take(self._table, rows, axis=0)


class FileRows:
    """A table in a file.

    Args:
        handle: The file, open for reading; it is closed with this object.
        start: Where its first number stands, bytes.
        member: Its type and shape.
    """

    def __init__(self, handle: int, start: int, member: Member) -> None:
        self._handle, self._start, self._dtype = handle, start, member.dtype
        self._width = member.shape[1]
        self._bytes = self._width * member.dtype.itemsize
        weakref.finalize(self, os.close, handle)

    def read(self, low: int, high: int) -> NDArray[Any]:
        """Rows low to high, without the last.

        Args:
            low: The first.
            high: The one after the last.

        Returns:
            [high - low, D].

        Raises:
            CohortError: The file was cut off after it was opened.
        """
        want, parts = (high - low) * self._bytes, []
        begin = self._start + low * self._bytes
        while want:
            part = os.pread(self._handle, min(want, 1 << 30), begin)
            if not part:
                raise CohortError("The file of bags was cut off while it was read.")
            parts.append(part)
            want, begin = want - len(part), begin + len(part)
        return np.frombuffer(b"".join(parts), self._dtype).reshape(-1, self._width)

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Some rows: those near each other at one go.

        Args:
            rows: Which, ascending.

        Returns:
            [n, D].
        """
        if not rows.size:
            return np.zeros((0, self._width), self._dtype)
        step, gap = max(1, PIECE // self._bytes), max(1, GAP // self._bytes)
        runs = np.split(rows, np.flatnonzero((np.diff(rows) > gap) | (np.diff(rows // step) > 0)) + 1)
        return np.concatenate([self.read(int(run[0]), int(run[-1]) + 1)[run - run[0]] for run in runs])


Rows = HeldRows | FileRows


def open_rows(archive: Archive, name: str, member: Member, scratch: Path | None, held_as: type[np.generic]) -> Rows:
    """Make an array of a file readable in parts.

    Args:
        archive: The file.
        name: Which array.
        member: What it is, [rows, D].
        scratch: Folder for the scratch file of a large packed array; the system's own if None.
        held_as: Type of rows that are held in memory: to convert them at each reading would take longest of all.

    Returns:
        Its rows.
    """
    if member.by_column or member.nbytes <= SMALL:
        return HeldRows(archive.whole(name, member, np.dtype(held_as)))
    if member.start is not None:
        return FileRows(os.open(archive.path, os.O_RDONLY), member.start, member)
    return FileRows(_unpack(archive.pieces(name, member), member.nbytes, scratch), 0, member)


def _unpack(pieces: Iterator[bytes], size: int, scratch: Path | None) -> int:
    """Unpack into a file without a name.

    Raises:
        CohortError: There is no room.
    """
    try:
        with tempfile.TemporaryFile(dir=scratch) as file:
            os.posix_fallocate(file.fileno(), 0, size)  # no room is found out now and not in an hour
            for piece in pieces:
                file.write(piece)
            file.flush()
            return os.dup(file.fileno())
    except OSError as error:
        raise CohortError(f"There is no room to unpack the file of bags: {size} bytes; write it unpacked.") from error
