"""Levels of a slide as grids of compressed tiles, and what identifies them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from slides.codestream import BROKEN
from slides.errors import BrokenTileError, DamagedSlideError
from slides.geometry import Size
from slides.identity import coding_of, content_hash, sample
from slides.info import Level

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from slides.codestream import Codec
    from slides.storage import ByteSource

Place = tuple[int, int]
"""Row and column of a tile."""


class Layer(ABC):
    """One level of a slide as a grid of tiles of one size.

    Args:
        size: The level in pixels.
        tile: A tile in pixels; those at the right and lower edge may reach beyond the level.
    """

    shrinks: tuple[int, ...] = (1,)
    """What a tile's sides can be divided by while it is decoded."""
    method: str = "full"
    """How that is done, for provenance."""
    coding: str = ""
    """What else than tile and grid decides how `content` becomes pixels: the codec and its settings."""

    def __init__(self, size: Size, tile: Size) -> None:
        self.size = size
        self.tile = tile
        self.shape = (-(-size.height // tile.height), -(-size.width // tile.width))

    @abstractmethod
    def tiles(self, places: Sequence[Place], shrink: int) -> Iterator[NDArray[np.uint8] | None]:
        """Decoded tiles in the order of their places.

        Args:
            places: Which.
            shrink: One of `shrinks`.

        Yields:
            RGB [tile.height / shrink, tile.width / shrink, 3], or None for a tile that the slide leaves out as glass.
        """

    @abstractmethod
    def content(self) -> Iterator[bytes | None]:
        """What identifies the level: its tiles as they are stored, in the order of their places.

        Yields:
            Bytes; nothing or None for a tile that is left out.
        """

    def sampled(self) -> Iterator[bytes | None]:
        """What identifies the level of a remote slide together with what its store says: far less than all of it.

        Yields:
            Bytes; all of `content` where a reader knows no shorter way.
        """
        yield from self.content()

    def identify(self, identity: tuple[str, ...], *, remote: bool = False) -> str:
        """The content hash of a slide whose finest level this is.

        Args:
            identity: Where the slide lies, and what changes when it does.
            remote: The slide lies far away; `identity` itself, but for the place, and a sample stand for its content.

        Returns:
            64 hex digits.
        """
        coding = f"tiles {self.tile.width}x{self.tile.height} in {self.shape[1]}x{self.shape[0]}: {self.coding}"
        if not remote:
            return content_hash(identity, self.size, self.content, coding)
        return content_hash(identity, self.size, self.sampled, f"remote {identity[1:]} {coding}")


def decoded(
    codec: Codec, placed: Iterable[tuple[Place, bytes]], tile: Size, shrink: int
) -> Iterator[NDArray[np.uint8] | None]:
    """Decode tiles one after another.

    Args:
        codec: Decodes one.
        placed: Where each stands, for errors, and its bytes; none for a tile that is left out.
        tile: A tile's full size in pixels.
        shrink: What its sides are divided by.

    Yields:
        RGB, or None for a tile that is left out.

    Raises:
        BrokenTileError: If one cannot be decoded.
    """
    for place, stream in placed:
        try:
            yield codec.decode(stream, tile, shrink) if stream else None
        except BROKEN as error:
            raise BrokenTileError(place) from error


class CompressedLayer(Layer):
    """Tiles that lie one by one in a file.

    Args:
        size: The level in pixels.
        tile: A tile in pixels.
        data: The file.
        spans: Offset and length of every tile, int64 [rows, columns, 2]; length 0 for a tile left out as glass.
        codec: Decodes one.
        coding: What the codec's own settings do not tell of how a tile is coded.
    """

    def __init__(
        self, size: Size, tile: Size, data: ByteSource, spans: NDArray[np.int64], codec: Codec, *, coding: str = ""
    ) -> None:
        super().__init__(size, tile)
        self.shrinks, self.method = codec.shrinks, codec.method
        self.coding = coding_of(codec) + coding
        self._data = data
        self._spans = spans
        self._codec = codec

    def tiles(self, places: Sequence[Place], shrink: int) -> Iterator[NDArray[np.uint8] | None]:
        """Decoded tiles in the order of their places.

        Args:
            places: Which.
            shrink: One of `shrinks`.

        Returns:
            RGB, or None for a tile that is left out.
        """
        placed = zip(places, self._data.read_many(self._at(places)), strict=True)
        return decoded(self._codec, placed, self.tile, shrink)

    def content(self) -> Iterator[bytes]:
        """The compressed tiles in the order of their places.

        Yields:
            Bytes.
        """
        yield from self._data.read_many([(int(offset), int(length)) for offset, length in self._spans.reshape(-1, 2)])

    def sampled(self) -> Iterator[bytes]:
        """The tile index and some compressed tiles.

        Yields:
            Bytes.
        """
        spans = self._spans.reshape(-1, 2)
        yield spans.astype("<i8").tobytes()
        yield from self._data.read_many([(int(offset), int(length)) for offset, length in spans[sample(len(spans))]])

    def _at(self, places: Sequence[Place]) -> list[tuple[int, int]]:
        return [(int(self._spans[place][0]), int(self._spans[place][1])) for place in places]

    def start(self, length: int) -> bytes:
        """The first bytes of the first tile that is there.

        Args:
            length: How many.

        Returns:
            The bytes; none where no tile is there.
        """
        spans = self._spans.reshape(-1, 2)
        first = spans[spans[:, 1].argmax()] if not spans[0, 1] else spans[0]
        return self._data.read(int(first[0]), min(length, int(first[1])))

    def require_whole(self) -> None:
        """Refuse a file that is shorter than its index says.

        Raises:
            DamagedSlideError: If it is.
        """
        if int(self._spans.sum(axis=2).max()) > self._data.size or int(self._spans.min()) < 0:
            msg = "the slide is cut off: its file is shorter than its tile index says"
            raise DamagedSlideError(msg)


def levels_of(layers: Sequence[Layer]) -> tuple[Level, ...]:
    """What `SlideInfo` says of layers.

    Args:
        layers: Finest first.

    Returns:
        Sizes, and downsamples as OpenSlide has them: the mean of both directions.
    """
    full = layers[0].size
    return tuple(
        Level(layer.size, (full.width / layer.size.width + full.height / layer.size.height) / 2) for layer in layers
    )
