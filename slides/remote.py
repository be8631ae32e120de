"""Slides in object storage and on web servers, read by range requests and never copied whole.

Credentials, region and endpoint come from the environment, as obstore reads it (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`
and so on); nothing of that passes through here. Errors name neither bucket nor URL.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from contextlib import contextmanager
from datetime import timedelta
from ipaddress import ip_address
from threading import Lock
from typing import TYPE_CHECKING, Any, BinaryIO, Literal
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import HTTPStore, S3Store

from slides.errors import NotASlideError, SlideNotFoundError
from slides.storage import ByteSource

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from obstore.store import ClientConfig, RetryConfig

    from slides.storage import Span

BLOCK = 1 << 18
"""Bytes that a parser's read fetches at once: a request costs as much as moving them."""
AHEAD = 4
"""Blocks fetched where a read goes on from the one before, as through a table of tile offsets."""
REMEMBERED = 128
"""Blocks kept for all remote slides of a process together (32 MB): several readers look at the same header."""
COALESCE = 1 << 16
"""Tiles closer together than this are fetched by one request: those of a row lie side by side."""
AT_ONCE = 1 << 25
"""Bytes of tiles held between request and decoder."""
CLIENT: ClientConfig = {"timeout": timedelta(seconds=60), "connect_timeout": timedelta(seconds=10)}
RETRY: RetryConfig = {"max_retries": 3, "retry_timeout": timedelta(seconds=60)}
"""A store that is away for longer is reported; a cohort goes on without that slide."""

_blocks: OrderedDict[tuple[tuple[str, ...], int], bytes] = OrderedDict()
_blocks_lock = Lock()


def store_of(location: str, *, below: bool = False) -> tuple[S3Store | HTTPStore, str]:
    """The store that holds a slide.

    Args:
        location: An `s3://bucket/key` or `https://host/path` address; `http://` only of this machine.
        below: Make the store begin at the address, as for a group of objects.

    Returns:
        The store, and the object's path in it (empty with `below`).

    Raises:
        NotASlideError: If the address is not one that is read.
    """
    parts = urlsplit(location)
    path = unquote(parts.path).strip("/")
    if not parts.netloc or not path or parts.query or parts.fragment:
        msg = "a remote address is s3://bucket/key or https://host/path, without query"
        raise NotASlideError(msg)
    if parts.scheme == "s3":
        # Options of the client given here would replace those of the environment.
        store = S3Store(parts.netloc, prefix=path if below else None, retry_config=RETRY)
        return store, "" if below else path
    if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
        msg = "a slide is not read over an open connection; give an https address"
        raise NotASlideError(msg)
    options: ClientConfig = {**CLIENT, "allow_http": parts.scheme == "http"}
    base = f"{parts.scheme}://{parts.netloc}" + (parts.path.rstrip("/") if below else "")
    return HTTPStore.from_url(base, client_options=options, retry_config=RETRY), "" if below else path


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn what a store says into an error of ours that names no address.

    Yields:
        Nothing.

    Raises:
        SlideNotFoundError: If the store does not give what was asked for.
    """
    try:
        yield
    except (FileNotFoundError, PermissionError) as error:
        msg = "there is no slide at the remote address, or it may not be read"
        raise SlideNotFoundError(msg) from error
    except (BaseError, OSError) as error:
        msg = "the slide's storage does not answer or refused the request"
        raise SlideNotFoundError(msg) from error


class RemoteObject(ByteSource):
    """An object that is read by range requests; thread-safe.

    Args:
        location: Its address.
    """

    def __init__(self, location: str) -> None:
        self._store, self._path = store_of(location)
        with plain_errors():
            meta = obstore.head(self._store, self._path)
        self.size = int(meta["size"])
        self.identity = (location, str(self.size), str(meta.get("e_tag")), str(meta["last_modified"]))

    def read(self, offset: int, length: int) -> bytes:
        """Bytes at an offset, by one request.

        Args:
            offset: The first byte.
            length: How many.

        Returns:
            The bytes; fewer where the object ends.
        """
        length = min(length, self.size - offset)
        if length <= 0:
            return b""
        with plain_errors():
            return bytes(obstore.get_range(self._store, self._path, start=offset, length=length))

    def read_many(self, spans: Sequence[Span]) -> Iterator[bytes]:
        """Bytes of many spans, neighbours by one request, several requests at a time.

        Args:
            spans: Which.

        Yields:
            The bytes of each.
        """
        for group in _groups(spans):
            wanted = [span for span in group if span[1] > 0]
            with plain_errors():
                parts = obstore.get_ranges(
                    self._store,
                    self._path,
                    starts=[offset for offset, _ in wanted],
                    lengths=[length for _, length in wanted],
                    coalesce=COALESCE,
                )
            found = iter(parts)
            for _, length in group:
                yield bytes(next(found)) if length > 0 else b""

    def open(self, mode: Literal["rb"] = "rb") -> BinaryIO:
        """The object as a file whose reads are cached by block.

        Args:
            mode: For reading.

        Returns:
            A file to close.
        """
        del mode
        return io.BufferedReader(BlockFile(self))

    def close(self) -> None:
        """Nothing is held open."""


class BlockFile(io.RawIOBase):
    """A remote object as a file for parsers: read by block, with read-ahead, and remembered.

    Args:
        data: The object.
    """

    def __init__(self, data: RemoteObject) -> None:
        super().__init__()
        self._data = data
        self._at = 0
        self._next_block = -1

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place.

        Args:
            offset: Bytes.
            whence: From the start, from here, or from the end.

        Returns:
            The place.
        """
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._data.size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any writable buffer
        """Read what one block has at this place.

        Args:
            buffer: Where to.

        Returns:
            How many bytes; 0 at the end.
        """
        view = memoryview(buffer).cast("B")
        if not 0 <= self._at < self._data.size:
            return 0
        number, start = divmod(self._at, BLOCK)
        part = self._block(number)[start : start + len(view)]
        view[: len(part)] = part
        self._at += len(part)
        return len(part)

    def _block(self, number: int) -> bytes:
        """A block, remembered or fetched with some after it."""
        key = (self._data.identity, number)
        with _blocks_lock:
            block = _blocks.get(key)
        if block is None:
            count = AHEAD if number == self._next_block else 1
            fetched = self._data.read(number * BLOCK, count * BLOCK)
            self._next_block = number + count
            parts = [fetched[i : i + BLOCK] for i in range(0, len(fetched), BLOCK)]
            with _blocks_lock:
                _blocks.update({(self._data.identity, number + i): part for i, part in enumerate(parts)})
                while len(_blocks) > REMEMBERED:
                    _blocks.popitem(last=False)
            block = parts[0]
        return block


def _groups(spans: Sequence[Span]) -> Iterator[list[Span]]:
    """Spans in runs of about `AT_ONCE` bytes."""
    group: list[Span] = []
    total = 0
    for span in spans:
        if group and total + span[1] > AT_ONCE:
            yield group
            group, total = [], 0
        group.append(span)
        total += span[1]
    if group:
        yield group


def _is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
