"""The objects of a Zarr group by key, in a folder or in object storage."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from zarr.storage import LocalStore

from slides.errors import UnsafeSlideError
from slides.identity import file_identity

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from zarr.abc.store import Store

    from slides.info import Address


class ChunkStore(ABC):
    """A Zarr group."""

    zarr: Store
    """The same for the zarr library."""

    @abstractmethod
    def fetch(self, key: str) -> bytes | None:
        """An object.

        Args:
            key: Its path in the group.

        Returns:
            Its bytes, or None where there is none.
        """

    def absent(self, keys: Sequence[str]) -> int | None:
        """How many objects are not there.

        Args:
            keys: Their paths in the group.

        Returns:
            The number, or None where it would cost a request for each.
        """
        del keys
        return None

    def plain_errors(self) -> AbstractContextManager[None]:
        """Around reads by the zarr library: errors of the store become ours.

        Returns:
            A context manager.
        """
        return nullcontext()

    @abstractmethod
    def identity(self, path: str) -> tuple[str, ...]:
        """What changes when an array does.

        Args:
            path: Of the array in the group.

        Returns:
            Where it lies, and as much of sizes and times as can be had.
        """


class FolderStore(ChunkStore):
    """A group in a folder.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._inside = root.resolve()
        self.zarr = LocalStore(root, read_only=True)

    def fetch(self, key: str) -> bytes | None:
        """An object.

        Args:
            key: Its path in the group.

        Returns:
            Its bytes, or None where there is none.

        Raises:
            UnsafeSlideError: If it is a link that leads out of the folder.
        """
        path = self._root / key
        if not path.is_file():
            return None
        if not path.resolve().is_relative_to(self._inside):
            msg = "a file of the slide is a link that leads out of its folder; put the file itself there"
            raise UnsafeSlideError(msg)
        return path.read_bytes()

    def absent(self, keys: Sequence[str]) -> int | None:
        """How many files are not there.

        Args:
            keys: Their paths in the group.

        Returns:
            The number.
        """
        return sum(not (self._root / key).is_file() for key in keys)

    def identity(self, path: str) -> tuple[str, ...]:
        """What changes when an array does: size and time of all its files.

        Args:
            path: Of the array in the group.

        Returns:
            The folder and a digest of these.
        """
        digest = hashlib.sha256()
        for file in sorted((self._root / path).rglob("*")):
            if file.is_file():
                digest.update(repr(file_identity(file)).encode())
        return str(self._root), path, digest.hexdigest()


def open_store(address: Address) -> ChunkStore:
    """Open a Zarr group.

    Args:
        address: Where it is.

    Returns:
        Its objects.
    """
    if address.is_remote:
        from slides.remote_zarr import RemoteStore  # a local slide needs no HTTP client

        return RemoteStore(address.location)
    return FolderStore(address.path)
