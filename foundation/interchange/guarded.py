"""HDF5 files of others, opened so that what is read is what stands in the file, and not more than it holds.

HDF5 can name other files (external links, external storage, virtual datasets), can ask for filters that are loaded as
code, and can claim arrays of any size in a few bytes. Feature files need none of it, so it is refused, by its own rule
and before anything is read:

- every link of the file is a hard link; no dataset has its bytes in another file;
- an array that is read is of plain numbers, its filters are gzip, shuffle and checksums, its claims are within bounds,
  and no chunk unpacks to more than it says.

Damage is an `InterchangeError` as well, as far as the HDF5 library survives it: it parses in this process.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from math import prod
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from foundation.errors import InterchangeError

MAX_OBJECTS: Final = 10_000
MAX_ATTRIBUTES: Final = 100
MAX_TEXT: Final = 65536
MAX_TILES: Final = 10_000_000
MAX_WIDTH: Final = 65536
"""Features of a tile."""
MAX_BYTES: Final = 8 << 30
MAX_CHUNK: Final = 256 << 20
MAX_CHUNKS: Final = 4_000_000
FREE_BYTES: Final = 64 << 20
"""Up to here an array may be as small in the file as it likes; places on a grid pack very well."""
MAX_RATIO: Final = 200
"""Beyond that, how many times what it takes in the file. Features hardly pack."""
FILTERS: Final = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
BROKEN: Final = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError)
"""What h5py raises on a damaged file."""


@contextmanager
def _broken_is_typed() -> Iterator[None]:
    try:
        yield
    except BROKEN as error:
        raise InterchangeError("The file is not HDF5, or is damaged.") from error


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open a file for reading; nobody waits for a lock.

    Args:
        path: The file.

    Yields:
        It, with all links and all places of bytes checked.

    Raises:
        InterchangeError: If there is no file, it is not HDF5, or it is not whole in itself.
    """
    if not path.is_file():
        raise InterchangeError("There is no file at this place.")
    with _broken_is_typed():
        file = h5py.File(path, "r", locking=False)
    with file:
        with _broken_is_typed():
            _require_self_contained(file)
        yield file


def array(
    group: h5py.Group, name: str, *, kinds: str, rows: int | None = None, width: int | None = None
) -> NDArray[Any]:
    """Read a table of numbers.

    Args:
        group: Where it is.
        name: Its name.
        kinds: Which of `f`, `i`, `u` the numbers may be.
        rows: How many rows it must have; None for any.
        width: How many columns; None for any.

    Returns:
        [rows, width].

    Raises:
        InterchangeError: If it is missing or breaks a rule.
    """
    with _broken_is_typed():
        dataset = group.get(name)
        if not isinstance(dataset, h5py.Dataset):
            raise InterchangeError(f"The file has no array {name!r}, which this layout needs.")
        _require_table(dataset, name, kinds, (rows, width))
        _require_bounded(dataset, name)
        return np.asarray(dataset[...])


def attributes(item: h5py.Group | h5py.Dataset) -> dict[str, str | int | float]:
    """Read the attributes that are one short text or one number.

    Args:
        item: What they are on.

    Returns:
        Name -> value; others are left out.
    """
    with _broken_is_typed():
        found = {name: _scalar(item, name) for name in islice(item.attrs, MAX_ATTRIBUTES)}
    return {name: value for name, value in found.items() if value is not None}


def text(group: h5py.Group, name: str) -> str | None:
    """Read a short text that is stored as a dataset.

    Args:
        group: Where it is.
        name: Its name.

    Returns:
        The text; None where there is none.
    """
    with _broken_is_typed():
        dataset = group.get(name)
        if not isinstance(dataset, h5py.Dataset) or dataset.shape != () or not _short(dataset.dtype):
            return None
        return _text(dataset[()])


def _require_self_contained(file: h5py.File) -> None:
    """Refuse links and arrays that lead elsewhere.

    Raises:
        InterchangeError: If there is one, or there are too many objects to look at.
    """
    waiting, seen, count = [file], set(), 0
    while waiting:
        group = waiting.pop()
        for name in group:
            count += 1
            if count > MAX_OBJECTS:
                raise InterchangeError(f"The file has more than {MAX_OBJECTS} objects, so it is no feature file.")
            if type(group.get(name, getlink=True)) is not h5py.HardLink:
                raise InterchangeError("The file holds an external or soft link; feature files have no need of any.")
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
            if isinstance(item, h5py.Dataset):
                _require_own_bytes(item)
            elif isinstance(item, h5py.Group) and address not in seen:
                waiting.append(item)
            seen.add(address)


def _require_own_bytes(dataset: h5py.Dataset) -> None:
    """Refuse a dataset that is put together from others or lies in another file.

    Raises:
        InterchangeError: If it is such.
    """
    how = dataset.id.get_create_plist()
    if how.get_layout() == h5py.h5d.VIRTUAL:
        raise InterchangeError("The file holds a virtual dataset, which shows the bytes of other files.")
    if how.get_external_count():
        raise InterchangeError("The file holds a dataset whose bytes lie in another file.")


def _require_table(dataset: h5py.Dataset, name: str, kinds: str, shape: tuple[int | None, int | None]) -> None:
    """Refuse what is no table of numbers of the wanted shape.

    Raises:
        InterchangeError: If it is none.
    """
    if dataset.dtype.kind not in kinds or dataset.dtype.itemsize > 8:
        raise InterchangeError(f"The array {name!r} does not hold plain numbers of the kind this layout has.")
    if dataset.shape is None or len(dataset.shape) != 2:
        raise InterchangeError(f"The array {name!r} is no table with a row a tile.")
    for have, want in zip(dataset.shape, shape, strict=True):
        if want is not None and have != want:
            raise InterchangeError(f"The array {name!r} has the shape {dataset.shape}, which does not fit the others.")
    if not 1 <= dataset.shape[0] <= MAX_TILES or not 1 <= dataset.shape[1] <= MAX_WIDTH:
        raise InterchangeError(f"The array {name!r} claims the shape {dataset.shape}: nothing, or too much.")


def _require_bounded(dataset: h5py.Dataset, name: str) -> None:
    """Refuse an array that takes more memory than the file accounts for.

    Raises:
        InterchangeError: If it does.
    """
    how = dataset.id.get_create_plist()
    filters = [how.get_filter(number)[0] for number in range(how.get_nfilters())]
    if not FILTERS.issuperset(filters) or len(set(filters)) != len(filters):
        raise InterchangeError(f"The array {name!r} is packed by something else than gzip; save it without.")
    claim, kept = prod(dataset.shape) * dataset.dtype.itemsize, dataset.id.get_storage_size()
    if claim > MAX_BYTES or claim > FREE_BYTES + MAX_RATIO * kept:
        raise InterchangeError(f"The array {name!r} claims {claim} bytes and has {kept} in the file.")
    if dataset.chunks is not None:
        _require_small_chunks(dataset, name)
    if h5py.h5z.FILTER_DEFLATE in filters:
        _require_honest_chunks(dataset, name, last=filters[-1])


def _require_small_chunks(dataset: h5py.Dataset, name: str) -> None:
    """Refuse chunks that are too large or too many to be gone through.

    Raises:
        InterchangeError: If they are.
    """
    size = prod(dataset.chunks) * dataset.dtype.itemsize
    count = prod(-(-side // chunk) for side, chunk in zip(dataset.shape, dataset.chunks, strict=True))
    if size > MAX_CHUNK or count > MAX_CHUNKS:
        raise InterchangeError(f"The array {name!r} is cut into chunks of {size} bytes, {count} of them: too much.")


def _require_honest_chunks(dataset: h5py.Dataset, name: str, last: int) -> None:
    """Unpack every chunk as far as it may go; the HDF5 library has no such limit.

    Raises:
        InterchangeError: If one goes on.
    """
    size = prod(dataset.chunks) * dataset.dtype.itemsize
    chunks: list[Any] = []
    dataset.id.chunk_iter(chunks.append)
    for chunk in chunks:
        if chunk.filter_mask:  # this chunk went round a filter, which no writer of features asks for
            raise InterchangeError(f"The array {name!r} has chunks that are packed in different ways.")
        if chunk.size > size + size // 8 + 1024:
            raise InterchangeError(f"The array {name!r} has a chunk that is larger packed than unpacked.")
        _, packed = dataset.id.read_direct_chunk(chunk.chunk_offset)
        end = len(packed) - 4 if last == h5py.h5z.FILTER_FLETCHER32 else len(packed)
        _require_unpacks(packed[:end], size, name)


def _require_unpacks(packed: bytes, size: int, name: str) -> None:
    """Unpack one chunk.

    Raises:
        InterchangeError: If it is not gzip or larger than it says.
    """
    try:
        unpacked = zlib.decompressobj().decompress(packed, size + 1)
    except zlib.error as error:
        raise InterchangeError(f"The array {name!r} is damaged.") from error
    if len(unpacked) != size:
        raise InterchangeError(f"The array {name!r} has a chunk that unpacks to another size than it says.")


def _scalar(item: h5py.Group | h5py.Dataset, name: str) -> str | int | float | None:
    """An attribute, if it is one short text or number."""
    about = item.attrs.get_id(name)
    if about.shape != () or not _short(about.dtype):
        return None
    value = item.attrs[name]
    if isinstance(value, np.generic) and isinstance(value.item(), int | float):
        number: int | float = value.item()
        return number
    return _text(value)


def _short(dtype: np.dtype[Any]) -> bool:
    """Whether a value of this type is a number or text that may be read."""
    is_text = h5py.check_string_dtype(dtype) is not None
    return dtype.itemsize <= MAX_TEXT and (is_text or dtype.kind in "fiub")


def _text(value: object) -> str | None:
    """Text, if it is short."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return str(value) if isinstance(value, str) and len(value) <= MAX_TEXT else None
