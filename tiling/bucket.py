"""Stores in object storage: members are objects below a prefix, read by range requests and put whole.

Credentials, region and endpoint come from the environment, as obstore reads it (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`
and so on); nothing of that passes through here. Errors name neither bucket nor key, and do not carry the storage's own.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

from slides import NotASlideError
from slides.remote import COALESCE, store_of
from tiling.errors import NotAStoreError, RemoteStoreError
from tiling.members import Members

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tiling.members import Span

PART = 5 << 20
"""Bytes of one part of a multipart upload, the least that S3 takes; smaller objects are put by one request."""
PARTS_AT_ONCE = 2
"""Parts of one object on their way at a time: all of them must arrive before the request times out (`AWS_TIMEOUT`)."""
DIGEST = "sha256"
"""Name of the metadata that says what an object holds: an entity tag says it only for some ways to put and encrypt."""


class Bucket(Members):
    """A store below a prefix of a bucket; thread-safe.

    Args:
        location: `s3://bucket/prefix`.

    Raises:
        NotAStoreError: If that is no such address.
    """

    def __init__(self, location: str) -> None:
        try:
            with plain_errors():
                self._store, _ = store_of(location, below=True)
        except NotASlideError:
            msg = "a store in object storage has an address s3://bucket/prefix, without query"
            raise NotAStoreError(msg) from None

    def read(self, name: str) -> bytes:
        """A whole object.

        Args:
            name: Which.

        Returns:
            Its bytes.
        """
        with plain_errors(FileNotFoundError):
            return bytes(obstore.get(self._store, name).bytes())

    def spans(self, name: str, spans: Sequence[Span]) -> list[bytes]:
        """Parts of an object, neighbours by one request.

        Args:
            name: Which.
            spans: Where they are; none is empty or reaches beyond the end.

        Returns:
            Their bytes.
        """
        starts, lengths = [offset for offset, _ in spans], [length for _, length in spans]
        with plain_errors(FileNotFoundError):
            parts = obstore.get_ranges(self._store, name, starts=starts, lengths=lengths, coalesce=COALESCE)
            return [bytes(part) for part in parts]

    def sizes(self) -> dict[str, int]:
        """All objects, listed by a request a thousand.

        Returns:
            Name to bytes.
        """
        with plain_errors():
            return {each["path"]: each["size"] for page in obstore.list(self._store) for each in page}

    def digest(self, name: str) -> str | None:
        """SHA-256 of an object's bytes as they are read now.

        Args:
            name: Which.

        Returns:
            64 hex digits; None where there is none.
        """
        digest = hashlib.sha256()
        try:
            with plain_errors(FileNotFoundError):
                for part in obstore.get(self._store, name).stream():
                    digest.update(part)
        except FileNotFoundError:
            return None
        return digest.hexdigest()

    def stated(self, name: str) -> str | None:
        """What an object was said to hold when it was put, without reading it.

        Args:
            name: Which; it is there.

        Returns:
            SHA-256 as 64 hex digits; None where nothing is said.
        """
        with plain_errors():
            about = obstore.get(self._store, name, options={"head": True}).attributes
        return next((value for key, value in about.items() if key.lower() == DIGEST), None)

    def put(self, name: str, content: Path | bytes, sha256: str) -> None:
        """Put an object; it appears whole or not at all.

        Args:
            name: Where.
            content: A file, sent in parts if it is large, or bytes.
            sha256: Of the content.
        """
        with plain_errors():
            obstore.put(
                self._store,
                name,
                content,
                attributes={DIGEST: sha256},
                chunk_size=PART,
                max_concurrency=PARTS_AT_ONCE,
            )


@contextmanager
def plain_errors(missing: type[Exception] = RemoteStoreError) -> Iterator[None]:
    """Turn what object storage says into an error of ours that names no address and does not carry the storage's own.

    Args:
        missing: What it is where there is no such object, or no such bucket.

    Yields:
        Nothing.

    Raises:
        RemoteStoreError: If the storage refuses or does not answer.
    """
    try:
        yield
    except FileNotFoundError:
        msg = "object storage has no such bucket or object"
        raise missing(msg) from None
    except (PermissionError, PermissionDeniedError, UnauthenticatedError):
        msg = "object storage refuses this; its credentials (AWS_...) do not allow it, or nothing is there"
        raise RemoteStoreError(msg) from None
    except (BaseError, OSError):
        msg = "object storage does not answer or cannot do this; check the AWS_... variables and run again"
        raise RemoteStoreError(msg) from None
