"""The bytes of a slide, wherever they lie: read by offset, never as a whole."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, BinaryIO, Literal, cast

from slides.identity import file_identity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from slides.info import Address

Span = tuple[int, int]
"""Offset and length in bytes."""


class ByteSource(ABC):
    """An object that can be read at any offset, by many threads at once."""

    size: int
    """Bytes in all."""
    identity: tuple[str, ...]
    """Where it lies and what changes when its content does."""

    @abstractmethod
    def read(self, offset: int, length: int) -> bytes:
        """Bytes at an offset.

        Args:
            offset: The first byte.
            length: How many.

        Returns:
            The bytes; fewer where the object ends.
        """

    def read_many(self, spans: Sequence[Span]) -> Iterator[bytes]:
        """Bytes of many spans in their order; a remote source asks for neighbours together.

        Args:
            spans: Which.

        Yields:
            The bytes of each.
        """
        for offset, length in spans:
            yield self.read(offset, length)

    @abstractmethod
    def open(self, mode: Literal["rb"] = "rb") -> BinaryIO:
        """The object as a file, for parsers.

        Args:
            mode: For reading, as `Path.open` has it.

        Returns:
            A file to close.
        """

    @abstractmethod
    def close(self) -> None:
        """Release it."""


class LocalBytes(ByteSource):
    """A file of this machine.

    Not mapped into memory: the pages of a mapped slide count as this process's memory until all of it is there, a file
    that is cut off while it is read would kill the process, and a copy out of a mapping costs as much as a read.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.size = path.stat().st_size
        self.identity = file_identity(path)
        self._path = path
        self._file = path.open("rb", buffering=0)

    def read(self, offset: int, length: int) -> bytes:
        """Bytes at an offset.

        Args:
            offset: The first byte.
            length: How many.

        Returns:
            The bytes; fewer where the file ends.
        """
        return os.pread(self._file.fileno(), length, offset)

    def open(self, mode: Literal["rb"] = "rb") -> BinaryIO:
        """The file.

        Args:
            mode: For reading.

        Returns:
            A file to close.
        """
        return cast("BinaryIO", self._path.open(mode))

    def close(self) -> None:
        """Close it."""
        self._file.close()


def is_zarr(address: Address) -> bool:
    """Whether an address names a Zarr group: by its ending where it is remote, for there are no folders to look into.

    Args:
        address: Of a slide.

    Returns:
        True where it does.
    """
    if address.is_remote:
        return address.location.rstrip("/").endswith(".zarr")
    return any((address.path / name).is_file() for name in ("zarr.json", ".zattrs"))


def open_bytes(address: Address) -> ByteSource:
    """Open the bytes at an address.

    Args:
        address: Of one file.

    Returns:
        The source; close it.
    """
    if address.is_remote:
        from slides.remote import RemoteObject  # a local slide needs no HTTP client

        return RemoteObject(address.location)
    return LocalBytes(address.path)
