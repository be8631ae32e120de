"""Slides made of compressed tiles: every tile is decoded once for all output that touches it.

OpenSlide spends most of its time putting decoded tiles together, and a general decoder spends much of the rest on
pixels that the next step averages away. A reader that knows where its tiles lie gives its levels as `Layer`s; which
tiles a read needs, at what size they are decoded and where they go is decided here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from slides.codestream import BROKEN
from slides.errors import BrokenTileError, DamagedSlideError
from slides.geometry import Region, Size
from slides.info import Level
from slides.slide import Slide, Source, resample_parts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from slides.codestream import Codec
    from slides.info import Address
    from slides.profile import ToSrgb
    from slides.slide import Tiles
    from slides.storage import ByteSource

WHITE = 255
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
    def content(self) -> Iterator[bytes]:
        """What identifies the level: its tiles as they are stored, in the order of their places.

        Yields:
            Bytes.
        """


class CompressedLayer(Layer):
    """Tiles that lie one by one in a file.

    Args:
        size: The level in pixels.
        tile: A tile in pixels.
        data: The file.
        spans: Offset and length of every tile, int64 [rows, columns, 2]; length 0 for a tile left out as glass.
        codec: Decodes one.
    """

    def __init__(self, size: Size, tile: Size, data: ByteSource, spans: NDArray[np.int64], codec: Codec) -> None:
        super().__init__(size, tile)
        self.shrinks, self.method = codec.shrinks, codec.method
        self._data = data
        self._spans = spans
        self._codec = codec

    def tiles(self, places: Sequence[Place], shrink: int) -> Iterator[NDArray[np.uint8] | None]:
        """Decoded tiles in the order of their places.

        Args:
            places: Which.
            shrink: One of `shrinks`.

        Yields:
            RGB, or None for a tile that is left out.

        Raises:
            BrokenTileError: If one cannot be decoded.
        """
        for place, stream in zip(places, self._data.read_many(self._at(places)), strict=True):
            try:
                yield self._codec.decode(stream, self.tile, shrink) if stream else None
            except BROKEN as error:
                raise BrokenTileError(place) from error

    def content(self) -> Iterator[bytes]:
        """The compressed tiles in the order of their places.

        Yields:
            Bytes.
        """
        yield from self._data.read_many([(int(offset), int(length)) for offset, length in self._spans.reshape(-1, 2)])

    def _at(self, places: Sequence[Place]) -> list[tuple[int, int]]:
        return [(int(self._spans[place][0]), int(self._spans[place][1])) for place in places]

    def require_whole(self) -> None:
        """Refuse a file that is shorter than its index says.

        Raises:
            DamagedSlideError: If it is.
        """
        if int(self._spans.sum(axis=2).max()) > self._data.size or int(self._spans.min()) < 0:
            msg = "the slide is cut off: its file is shorter than its tile index says"
            raise DamagedSlideError(msg)


class TiledSlide(Slide):
    """A slide whose levels are `Layer`s.

    Args:
        layers: Finest first.
        levels: What `SlideInfo` says of them.
        exact: Never shrink while decoding.
    """

    reads_sparsely = True

    def __init__(self, layers: Sequence[Layer], levels: Sequence[Level], *, exact: bool) -> None:
        self._layers = layers
        self._colours: ToSrgb | None = None
        self.sources = tuple(
            Source(number, shrink, level.downsample * shrink, layer.method)
            for number, (layer, level) in enumerate(zip(layers, levels, strict=True))
            for shrink in ((1,) if exact else layer.shrinks)
            if not (layer.tile.width % shrink or layer.tile.height % shrink)
        )

    def decode_of(self, address: Address) -> str:
        """What `SlideInfo.decode` says.

        Args:
            address: Holds what the caller allows.

        Returns:
            `fast` or `exact` where a level could be shrunk while it is decoded, else `full`.
        """
        return address.decode if any(len(layer.shrinks) > 1 for layer in self._layers) else "full"

    def _read_source(self, source: Source, x: int, y: int, size: Size) -> NDArray[np.uint8]:
        left, top = round(x / source.downsample), round(y / source.downsample)
        image = np.empty((size.height, size.width, 3), np.uint8)
        whole = Region(left, top, size.width, size.height)
        self._paste([(image, whole)], self._touched(source, [whole]), source)
        return image

    def _fill(
        self, source: Source, whole: Region, parts: Sequence[Region], tiles: Tiles
    ) -> None:
        """Decode what the parts touch, straight into the tiles where no pixel has to be resampled."""
        if all((part.height, part.width) == tile.shape[:2] for part, tile in zip(parts, tiles, strict=True)):
            self._paste(list(zip(tiles, parts, strict=True)), self._touched(source, parts), source)
            return
        image = np.empty((whole.height, whole.width, 3), np.uint8)
        self._paste([(image, whole)], {place: [0] for place in self._touched(source, parts)}, source)
        resample_parts(image, whole, parts, tiles)

    def _touched(self, source: Source, parts: Sequence[Region]) -> dict[Place, list[int]]:
        """The tiles of a source that touch any part, in reading order, and which parts each touches."""
        layer = self._layers[source.level]
        width, height = layer.tile.width // source.shrink, layer.tile.height // source.shrink
        found: dict[Place, list[int]] = {}
        for number, part in enumerate(parts):
            for row in range(max(0, part.y // height), min(layer.shape[0], -(-part.bottom // height))):
                for col in range(max(0, part.x // width), min(layer.shape[1], -(-part.right // width))):
                    found.setdefault((row, col), []).append(number)
        return dict(sorted(found.items()))

    def _paste(
        self, targets: Sequence[tuple[NDArray[np.uint8], Region]], places: dict[Place, list[int]], source: Source
    ) -> None:
        """Decode tiles once each and copy them to every target that they touch; white beyond the level."""
        layer = self._layers[source.level]
        width, height = layer.tile.width // source.shrink, layer.tile.height // source.shrink
        edge = (-(-layer.size.height // source.shrink), -(-layer.size.width // source.shrink))
        for image, at in targets:
            if at.x < 0 or at.y < 0 or at.bottom > edge[0] or at.right > edge[1]:
                image[:] = WHITE
        glass = np.full((height, width, 3), WHITE, np.uint8)
        for (row, col), tile in zip(places, self._decoded(source, list(places)), strict=True):
            limit = (edge[0] - row * height, edge[1] - col * width)
            for number in places[row, col]:
                image, at = targets[number]
                paste(image, glass if tile is None else tile, (row * height - at.y, col * width - at.x), limit)

    def _decoded(self, source: Source, places: Sequence[Place]) -> Iterator[NDArray[np.uint8] | None]:
        """Tiles of a source.

        Raises:
            DamagedSlideError: If one cannot be decoded, naming its place.
        """
        layer = self._layers[source.level]
        try:
            for tile in layer.tiles(places, source.shrink):
                yield tile if tile is None or self._colours is None else self._colours(tile)
        except BrokenTileError as error:
            scale = self._layers[0].size.width / layer.size.width
            x, y = error.place[1] * layer.tile.width * scale, error.place[0] * layer.tile.height * scale
            msg = f"the tile at level-0 pixel ({round(x)}, {round(y)}) cannot be decoded"
            raise DamagedSlideError(msg) from error


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


def paste(image: NDArray[np.uint8], tile: NDArray[np.uint8], at: tuple[int, int], limit: tuple[int, int]) -> None:
    """Copy a tile into an image, clipped to both and to the level's edge.

    Args:
        image: RGB [H, W, 3], written to.
        tile: RGB [h, w, 3].
        at: Row and column of the image where the tile's corner goes; may be negative.
        limit: Rows and columns of the tile that lie on the level.
    """
    y, x = at
    top, left = max(0, -y), max(0, -x)
    bottom = min(tile.shape[0], limit[0], image.shape[0] - y)
    right = min(tile.shape[1], limit[1], image.shape[1] - x)
    if bottom > top and right > left:
        image[y + top : y + bottom, x + left : x + right] = tile[top:bottom, left:right]
