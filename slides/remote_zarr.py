"""A Zarr group in object storage or on a web server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import obstore
from zarr.storage import ObjectStore

from slides.remote import plain_errors, store_of
from slides.zarr_store import ChunkStore

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


class RemoteStore(ChunkStore):
    """A group below a remote address.

    Args:
        location: The address of the group.
    """

    def __init__(self, location: str) -> None:
        self._location = location
        self._store, self._root = store_of(location, below=True)
        self.zarr = ObjectStore(self._store, read_only=True)

    def fetch(self, key: str) -> bytes | None:
        """An object.

        Args:
            key: Its path in the group.

        Returns:
            Its bytes, or None where there is none.
        """
        with plain_errors():
            try:
                return bytes(obstore.get(self._store, key).bytes())
            except FileNotFoundError:
                return None

    def plain_errors(self) -> AbstractContextManager[None]:
        """Around reads by the zarr library: errors of the store become ours.

        Returns:
            A context manager.
        """
        return plain_errors()

    def identity(self, path: str) -> tuple[str, ...]:
        """What changes when an array does: as far as its metadata tell, for listing a store costs a request a chunk.

        Args:
            path: Of the array in the group.

        Returns:
            The address and a mark of the metadata.
        """
        marks = []
        for name in ("zarr.json", ".zarray"):
            with plain_errors():
                try:
                    meta = obstore.head(self._store, f"{path}/{name}")
                    marks.append(f"{meta.get('e_tag')} {meta['last_modified']} {meta['size']}")
                except FileNotFoundError:
                    continue
        return self._location, path, *marks
