"""The members of a store, wherever it lies: in a folder of this machine or below an `s3://` address."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

S3 = "s3://"
Span = tuple[int, int]
"""Offset and length in bytes."""


class Members(ABC):
    """Named bytes, read-only."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """A whole member.

        Args:
            name: Which.

        Returns:
            Its bytes; FileNotFoundError where there is none.
        """

    @abstractmethod
    def spans(self, name: str, spans: Sequence[Span]) -> list[bytes]:
        """Parts of a member.

        Args:
            name: Which.
            spans: Where they are, inside of it.

        Returns:
            Their bytes; FileNotFoundError where there is no such member.
        """

    @abstractmethod
    def sizes(self) -> dict[str, int]:
        """All members.

        Returns:
            Name to bytes.
        """

    @abstractmethod
    def digest(self, name: str) -> str | None:
        """SHA-256 of a member, of which never more than a part is held.

        Args:
            name: Which.

        Returns:
            64 hex digits; None where there is none.
        """


class Folder(Members):
    """A store on this machine.

    Args:
        root: Its folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, name: str) -> bytes:
        """A whole file.

        Args:
            name: Which.

        Returns:
            Its bytes.
        """
        return (self.root / name).read_bytes()

    def spans(self, name: str, spans: Sequence[Span]) -> list[bytes]:
        """Parts of a file.

        Args:
            name: Which.
            spans: Where they are.

        Returns:
            Their bytes; fewer where the file ends.
        """
        parts = []
        with (self.root / name).open("rb") as file:
            for offset, length in spans:
                file.seek(offset)
                parts.append(file.read(length))
        return parts

    def sizes(self) -> dict[str, int]:
        """All files.

        Returns:
            Name to bytes.
        """
        sizes = {}
        for folder, _, names in os.walk(self.root):
            for path in (Path(folder) / name for name in names):
                with suppress(FileNotFoundError):  # somebody is just replacing a broken store
                    sizes[path.relative_to(self.root).as_posix()] = path.stat().st_size
        return sizes

    def digest(self, name: str) -> str | None:
        """SHA-256 of a file.

        Args:
            name: Which.

        Returns:
            64 hex digits; None where there is none.
        """
        if not (self.root / name).is_file():
            return None
        with (self.root / name).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def is_remote(where: Path | str) -> bool:
    """Whether a store's address is one of object storage.

    Args:
        where: A folder or an `s3://bucket/prefix` address.

    Returns:
        True for the latter.

    >>> is_remote("s3://bucket/prefix"), is_remote("a/folder")
    (True, False)
    """
    return isinstance(where, str) and where.startswith(S3)


def below(where: Path | str, name: str) -> Path | str:
    """An address inside another.

    Args:
        where: A folder or an `s3://bucket/prefix` address.
        name: What to find there.

    Returns:
        Its address: a path, or text for object storage.

    >>> below("s3://bucket/prefix/", "a.zarr")
    's3://bucket/prefix/a.zarr'
    """
    return f"{str(where).rstrip('/')}/{name}" if is_remote(where) else Path(where) / name


def members_of(where: Path | str) -> Members:
    """The members of a store.

    Args:
        where: A folder or an `s3://bucket/prefix` address.

    Returns:
        What reads them; whether anything stands there shows when it is read.
    """
    if is_remote(where):
        from tiling.bucket import Bucket  # a local store needs no HTTP client

        return Bucket(str(where))
    return Folder(Path(where))
