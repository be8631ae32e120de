"""Slides made of compressed tiles: every tile is decoded once for all output that touches it.

OpenSlide spends most of its time putting decoded tiles together, and a general decoder spends much of the rest on
pixels that the next step averages away. A reader that knows where its tiles lie gives its levels as `Layer`s; which
tiles a read needs, at what size they are decoded and where they go is decided here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from slides.errors import BrokenTileError, DamagedSlideError
from slides.geometry import Region, Size
from slides.resampling import resample_parts
from slides.slide import Slide, Source

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from slides.info import Address, Level
    from slides.layers import Layer, Place
    from slides.profile import ToSrgb
    from slides.slide import Tiles

WHITE = 255


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

    def _fill(self, source: Source, whole: Region, parts: Sequence[Region], tiles: Tiles) -> None:
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
