"""The directories of a TIFF, read in pure Python with bounded reads before any decoder sees the file.

A chain that leaves the file means that the slide was cut off; readers that stop quietly there would show a slide with
fewer levels than it has. Layout: TIFF 6.0, BigTIFF, and Hamamatsu's NDPI, which is a TIFF with 64-bit offsets.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Self

import numpy as np

from slides.errors import DamagedSlideError, NotASlideError, UnsafeSlideError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_DIRECTORIES = 1024
"""NDPI and multi-plane files have hundreds; thousands are a bomb."""
MOST_ENTRIES = 4096
"""In one directory; scanners write fewer than a hundred."""
MOST_ENTRIES_IN_ALL = 1 << 16
"""64 in each of the most directories: what can be walked in a fraction of a second."""
MOST_STRETCH = 1 << 16
"""Bytes of a tile in which its header stands."""
MAGICS = {b"II*\0": ("<", False), b"MM\0*": (">", False), b"II+\0": ("<", True), b"MM\0+": (">", True)}
SUB_DIRECTORIES, NDPI_FLAG = 330, 65420
WIDTHS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of one value of each field type."""
UNSIGNED = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One field of a directory; its values are not read yet."""

    kind: int
    count: int
    place: int
    """Offset of the first value in the file."""

    @property
    def length(self) -> int:
        """Bytes of all values."""
        return self.count * WIDTHS.get(self.kind, 1)


Directory = dict[int, Entry]
"""The fields of one image by tag."""


@dataclass(slots=True)
class TiffHeader:
    """The index of an open TIFF. What lies outside of the file is an error, whatever asks for it."""

    file: BinaryIO
    size: int
    order: str
    big: bool
    ndpi: bool = False
    directories: list[Directory] = field(default_factory=list)
    """Those of the chain in order, then those below them."""

    @classmethod
    def read(cls, file: BinaryIO) -> Self | None:
        """Walk all directories.

        Args:
            file: A regular file, or an object in a store, open for reading.

        Returns:
            The index, or None where it is no TIFF.

        Raises:
            NotASlideError: If it is a TIFF without any image.
        """
        file.seek(0)
        form = MAGICS.get(file.read(4))
        if form is None:
            return None
        order, big = form
        header = cls(file, file.seek(0, os.SEEK_END), order, big)
        first = header.number("4xQ" if big else "I", 4)
        if first == 0:
            msg = "the file is a TIFF without any image"
            raise NotASlideError(msg)
        header.ndpi = header._is_ndpi()
        header._walk(header.number("Q", 4) if header.ndpi else first)
        return header

    def _is_ndpi(self) -> bool:
        """Whether the first directory, found by a 64-bit offset in a 32-bit file, carries Hamamatsu's flag."""
        if self.big or self.order == ">" or self.size < 16:
            return False
        wide = self.number("Q", 4)
        if wide + 2 > self.size:
            return False
        count = min(self.number("H", wide), MOST_ENTRIES)
        self.file.seek(wide + 2)
        rows = self.file.read(12 * count)
        return any(rows[at : at + 2] == struct.pack("<H", NDPI_FLAG) for at in range(0, len(rows), 12))

    def _walk(self, first: int) -> None:
        """Read the chain, then every chain that hangs below one of its directories.

        Raises:
            DamagedSlideError: If it never ends.
            UnsafeSlideError: If it is longer than that of any slide.
        """
        chains, seen, entries = [first], set[int](), 0
        while chains:
            offset = chains.pop(0)
            main = not seen
            while offset and (main or offset not in seen):  # a chain below a directory may end in another one
                if offset in seen:
                    msg = "the slide's index never ends"
                    raise DamagedSlideError(msg)
                seen.add(offset)
                directory, offset = self._directory(offset)
                self.directories.append(directory)
                entries += len(directory)
                if len(seen) > MOST_DIRECTORIES or entries > MOST_ENTRIES_IN_ALL:
                    msg = "the slide's index claims more images than a slide can have"
                    raise UnsafeSlideError(msg)
                if SUB_DIRECTORIES in directory:
                    chains += [int(number) for number in self.numbers(directory[SUB_DIRECTORIES], MOST_DIRECTORIES)]

    def _directory(self, offset: int) -> tuple[Directory, int]:
        """The directory at an offset, and the offset of the next one, 0 for the last.

        Raises:
            DamagedSlideError: If it cannot be whole.
        """
        count = self.number("Q" if self.big else "H", offset)
        if count > MOST_ENTRIES:
            msg = "the slide's index is damaged: it claims more entries than a slide can have"
            raise DamagedSlideError(msg)
        row, inline = (20, 8) if self.big else (12, 4)
        start = offset + (8 if self.big else 2)
        after = start + row * count
        following = self.number("Q" if self.big or self.ndpi else "I", after)
        high = self._bytes(after + 8, 4 * count) if self.ndpi else b""
        rows = self._bytes(start, row * count)
        directory: Directory = {}
        for number in range(count):
            at = number * row
            tag, kind = struct.unpack_from(f"{self.order}HH", rows, at)
            length, place = struct.unpack_from(self.order + ("QQ" if self.big else "II"), rows, at + 4)
            if length * WIDTHS.get(kind, 1) <= inline:
                place = start + at + row - inline
            elif high:
                place |= int(struct.unpack_from("<I", high, 4 * number)[0]) << 32
            directory.setdefault(tag, Entry(kind, length, place))
        return directory, following

    def numbers(self, entry: Entry, most: int) -> NDArray[np.uint64]:
        """Unsigned values of a field.

        Args:
            entry: The field.
            most: How many are plausible.

        Returns:
            The values [count]; none where the field holds no unsigned numbers.

        Raises:
            UnsafeSlideError: If the field claims more.
        """
        if entry.count > most:
            msg = "the slide's index is larger than that of any slide"
            raise UnsafeSlideError(msg)
        kind = UNSIGNED.get(entry.kind)
        if kind is None:
            return np.empty(0, np.uint64)
        return np.frombuffer(self._bytes(entry.place, entry.length), self.order + kind).astype(np.uint64)

    def text(self, entry: Entry, most: int) -> str:
        """The text of a field, undecodable bytes as they are in Latin-1.

        Args:
            entry: The field.
            most: How many bytes are plausible.

        Returns:
            The text without its end mark.

        Raises:
            UnsafeSlideError: If the field claims more.
        """
        if entry.length > most:
            msg = "the slide's description is longer than that of any slide"
            raise UnsafeSlideError(msg)
        return self._bytes(entry.place, entry.length).split(b"\0", 1)[0].decode("latin-1")

    def stretch(self, offset: int, length: int) -> bytes:
        """The start of a compressed piece.

        Args:
            offset: Where it lies.
            length: How long it is.

        Returns:
            At most `MOST_STRETCH` bytes.
        """
        return self._bytes(offset, min(length, MOST_STRETCH))

    def number(self, form: str, offset: int) -> int:
        """An unsigned number at an offset.

        Args:
            form: As `struct` has it, without the byte order.
            offset: Where it stands.

        Returns:
            The number.
        """
        return int(struct.unpack(self.order + form, self._bytes(offset, struct.calcsize(self.order + form)))[0])

    def _bytes(self, offset: int, length: int) -> bytes:
        """Bytes at an offset.

        Raises:
            DamagedSlideError: If they would lie outside of the file.
        """
        if offset + length > self.size:
            msg = "the slide is cut off: its index points beyond the end of the file"
            raise DamagedSlideError(msg)
        self.file.seek(offset)
        return self.file.read(length)
