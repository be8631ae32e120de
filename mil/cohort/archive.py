"""Arrays inside an `.npz`: found in the zip, their headers read strictly, nothing unpickled.

The file is data of others. Before a number is read, each header must claim exactly the bytes that the zip has for it,
the zip exactly bytes that the file has, and the type must be plain numbers or text.
"""

from __future__ import annotations

import io
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mil.errors import CohortError

BROKEN: Final = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    tokenize.TokenError,
    EOFError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    ValueError,
)
"""What zipfile and numpy raise on a damaged or hostile file (RuntimeError: encrypted, or nested too deep)."""
MAX_MEMBERS: Final = 64
MAX_RATIO: Final = 1100
"""Deflate packs at most 1 : 1032, so a larger claim is false."""
PIECE: Final = 8 << 20
"""Bytes that are unpacked or hashed at a time."""
SMALL: Final = 256 << 20
"""Bytes of an array that may be held in memory whole."""
_LOCAL: Final = struct.Struct("<26xHH")
"""Of a zip's local header: the lengths of what follows it."""
_HEADERS: Final = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


@dataclass(frozen=True)
class Member:
    """One array of the file."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    head: int
    """Bytes of its own header."""
    start: int | None
    """Where its first number stands in the file; None where it is packed."""
    by_column: bool = False
    """Whether it is stored column by column."""

    @property
    def nbytes(self) -> int:
        """Bytes of its numbers."""
        return prod(self.shape) * self.dtype.itemsize


@contextmanager
def damage_is_typed() -> Iterator[None]:
    """Give damage one name.

    Yields:
        Nothing.

    Raises:
        CohortError: The file is damaged.
    """
    try:
        yield
    except BROKEN as error:
        raise CohortError("The file of bags is no .npz file, or is cut off or damaged.") from error


class Archive:
    """An `.npz` file whose arrays are known but not read.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with damage_is_typed(), zipfile.ZipFile(path) as file:
            _require_plain(file)
            self._names = {info.filename.removesuffix(".npy"): info.filename for info in file.infolist()}

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def member(self, name: str, kinds: str, dims: tuple[int, ...]) -> Member:
        """Find an array and see that it is what is wanted.

        Args:
            name: Which.
            kinds: Kinds of numbers it may have, as numpy's letters.
            dims: Numbers of dimensions it may have.

        Returns:
            Where and what it is.

        Raises:
            CohortError: It is missing, of another type or shape, or claims what the file does not hold.
        """
        if name not in self._names:
            raise CohortError(f"The file of bags has no array {name}.")
        with damage_is_typed(), zipfile.ZipFile(self.path) as file:
            info = file.getinfo(self._names[name])
            head, (shape, fortran, dtype) = _read_header(file, info)
            start = _begin(self.path, info) + head if info.compress_type == zipfile.ZIP_STORED else None
        if dtype.kind not in kinds or dtype.names or dtype.subdtype or not dtype.isnative or not dtype.itemsize:
            raise CohortError(f"The array {name} holds another type of numbers or texts than this layout has.")
        if len(shape) not in dims:
            raise CohortError(f"The array {name} has {len(shape)} dimensions, which this layout has not.")
        found = Member(dtype, shape, head, start, fortran)
        if min(shape, default=0) < 0 or found.head + found.nbytes != info.file_size:
            raise CohortError(f"The array {name} claims another size than the file of bags has for it.")
        return found

    def pieces(self, name: str, member: Member) -> Iterator[bytes]:
        """Read the numbers of an array in pieces; the zip's checksum is compared at the end.

        Args:
            name: Which.
            member: What `member` found.

        Yields:
            Bytes of whole numbers or texts, about `PIECE` at a time.

        Raises:
            CohortError: The array is cut off.
        """
        left, most = member.nbytes, max(1, PIECE // member.dtype.itemsize) * member.dtype.itemsize
        with damage_is_typed(), zipfile.ZipFile(self.path) as file, file.open(self._names[name]) as stream:
            stream.read(member.head)
            while left:
                piece = stream.read(min(most, left))
                if not piece:
                    raise CohortError(f"The array {name} of the file of bags is cut off.")
                left -= len(piece)
                yield piece

    def small(self, name: str, kinds: str, dims: tuple[int, ...]) -> NDArray[Any]:
        """Read an array whole.

        Args:
            name: Which.
            kinds: As for `member`.
            dims: As for `member`.

        Returns:
            The array.
        """
        return self.whole(name, self.member(name, kinds, dims))

    def whole(self, name: str, member: Member, dtype: np.dtype[Any] | None = None) -> NDArray[Any]:
        """Read an array that was found.

        Args:
            name: Which.
            member: What `member` found.
            dtype: What it is converted to; its own type if None.

        Returns:
            The array, stored row by row.

        Raises:
            CohortError: It is too large to be held in memory.
        """
        if member.nbytes > SMALL:
            raise CohortError(
                f"The array {name} takes {member.nbytes} bytes, too many to hold in memory; store features row by row."
            )
        flat, end = np.empty(prod(member.shape), dtype or member.dtype), 0
        for piece in self.pieces(name, member):
            part = np.frombuffer(piece, member.dtype)
            flat[end : end + len(part)] = part
            end += len(part)
        return np.asarray(flat.reshape(member.shape, order="F" if member.by_column else "C"), order="C")


def _require_plain(file: zipfile.ZipFile) -> None:
    """Refuse zips that no numpy writes.

    Raises:
        CohortError: There are too many members, two of one name, encrypted ones, or another packing than deflate.
    """
    infos = file.infolist()
    if len(infos) > MAX_MEMBERS or len({info.filename.removesuffix(".npy") for info in infos}) < len(infos):
        raise CohortError("The file of bags has too many arrays, or two of one name.")
    for info in infos:
        if info.flag_bits & 1 or info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise CohortError("The file of bags is encrypted or packed by something else than numpy.")
        if info.file_size > MAX_RATIO * info.compress_size + PIECE:
            raise CohortError("The file of bags claims to unpack to more than its bytes can hold.")


def _read_header(
    file: zipfile.ZipFile, info: zipfile.ZipInfo
) -> tuple[int, tuple[tuple[int, ...], bool, np.dtype[Any]]]:
    """Read what an array says of itself: bytes of the header; shape, column order, type.

    Raises:
        CohortError: It is of a version that is not for plain numbers.
    """
    with file.open(info) as stream:
        start = io.BytesIO(stream.read(1 << 16))
    version = np.lib.format.read_magic(start)
    if version not in _HEADERS:
        raise CohortError("The file of bags has an array that is not of plain numbers or texts.")
    said = _HEADERS[version](start, max_header_size=10_000)
    return start.tell(), said


def _begin(path: Path, info: zipfile.ZipInfo) -> int:
    """Where the bytes of a member that is not packed begin; the zip's directory does not say.

    Raises:
        CohortError: They are not all there.
    """
    with path.open("rb") as file:
        file.seek(info.header_offset)
        follow = _LOCAL.unpack(file.read(_LOCAL.size))  # zipfile has read this header before and found it whole
        begin = info.header_offset + _LOCAL.size + sum(follow)
        if begin + info.file_size > file.seek(0, io.SEEK_END) or info.file_size != info.compress_size:
            raise CohortError("The file of bags is cut off.")
    return int(begin)
