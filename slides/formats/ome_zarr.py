"""OME-Zarr 0.4 and 0.5, in a folder or in object storage: 8-bit RGB, read chunk by chunk."""

from __future__ import annotations

import json
import math
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from slides.codestream import BROKEN
from slides.errors import BrokenTileError, DamagedSlideError, NotASlideError
from slides.geometry import Region, Size
from slides.header import scale
from slides.identity import sample
from slides.info import SlideInfo
from slides.layers import Layer, Place, levels_of
from slides.malformed import MALFORMED, header_is_read
from slides.ome_zarr import Multiscale, multiscale, require_safe
from slides.profile import transform_of
from slides.storage import is_zarr
from slides.tiles import TiledSlide
from slides.zarr_glass import WHITE, filled, is_brightfield
from slides.zarr_store import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from slides.info import Address
    from slides.zarr_store import ChunkStore

MOST_CHUNK_BYTES = 1 << 28
"""Of a chunk, which is decoded at once; larger chunks make no tiles."""
MOST_SAMPLE_BYTES = 1 << 26
"""Of objects, unpacked, that stand for a remote image."""
CODING_KEYS = (
    *("shape", "chunks", "chunk_grid", "dtype", "data_type", "order", "fill_value"),
    *("filters", "compressor", "codecs", "storage_transformers"),
)
"""What of an array's metadata decides how its chunks become pixels; attributes may hold anything."""
MOST_OBJECTS = 1 << 22
"""Chunks or shards of an array; a gigapixel slide in chunks of 256 px has 2 ** 14 a gigapixel."""


class ChunkLayer(Layer):
    """A level whose tiles are the chunks of an array; chunks inside shards are read one by one.

    Args:
        array: The array.
        axes: Names of its dimensions.
        store: Where it lies.

    Raises:
        NotASlideError: If it is not three channels of one plane.
    """

    def __init__(self, array: zarr.Array[Any], axes: Sequence[str], store: ChunkStore) -> None:
        shape = dict(zip(axes, array.shape, strict=True))
        chunks = dict(zip(axes, array.chunks, strict=True))
        stored = array.shards or array.chunks
        fits = min(*array.shape, *array.chunks, *stored) >= 1 and math.prod(array.chunks) <= MOST_CHUNK_BYTES
        if shape.get("c") != 3 or not fits or math.prod(_grid(array.shape, stored)) > MOST_OBJECTS:
            msg = "the Zarr image does not hold three channels in chunks of a readable size and number"
            raise NotASlideError(msg)
        super().__init__(Size(shape["x"], shape["y"]), Size(chunks["x"], chunks["y"]))
        self._array = array
        self._axes = axes
        self._store = store
        self.planes = array.size // (3 * shape["x"] * shape["y"])
        about = array.metadata.to_dict()
        self.coding = (
            f"{''.join(axes)} {json.dumps({k: about.get(k) for k in CODING_KEYS}, sort_keys=True, default=str)}"
        )

    def tiles(self, places: Sequence[Place], shrink: int) -> Iterator[NDArray[np.uint8] | None]:
        """Chunks in the order of their places; neighbours in a row are fetched together.

        Args:
            places: Which.
            shrink: 1.

        Yields:
            RGB, smaller where a chunk reaches beyond the level.

        Raises:
            BrokenTileError: If one cannot be decoded.
        """
        del shrink
        for run in _runs(places):
            try:
                row, (left, right) = run[0][0], (run[0][1], run[-1][1] + 1)
                pixels = self._read(row, left, right)
            except (*BROKEN, OSError) as error:
                raise BrokenTileError(self._broken(run)) from error
            for number in range(right - left):
                yield pixels[:, number * self.tile.width : (number + 1) * self.tile.width]

    def content(self) -> Iterator[bytes | None]:
        """The level's objects as they are stored, in the order of their places.

        Yields:
            Bytes, or None for an object that is left out.
        """
        for key in self.keys():
            yield self._store.fetch(key)

    def sampled(self) -> Iterator[bytes | None]:
        """Some of the level's objects.

        Yields:
            Bytes, or None for an object that is left out.
        """
        keys = self.keys()
        numbers = sample(len(keys))
        most = max(1, MOST_SAMPLE_BYTES // math.prod(self._array.shards or self._array.chunks))
        for number in numbers[:: -(-len(numbers) // most)]:
            yield self._store.fetch(keys[number])

    def keys(self) -> list[str]:
        """Where the level's objects, chunks or shards, should be in the store, in the order of their places."""
        places = np.ndindex(*_grid(self._array.shape, self._array.shards or self._array.chunks))
        encode = self._array.metadata.encode_chunk_key
        return [f"{self._array.path}/{encode(tuple(int(i) for i in place))}" for place in places]

    @property
    def may_be_sparse(self) -> bool:
        """Whether chunks may be absent and would then be shown in another colour than glass."""
        known = None if self._array.shards else self.absent
        return known != 0 and self._array.fill_value != WHITE

    @cached_property
    def absent(self) -> int | None:
        """How many objects are not there; None where asking would cost a request each."""
        return self._store.absent(self.keys())

    def is_brightfield(self) -> bool:
        """Whether what is stored is bright."""
        return is_brightfield(self._array, self.shape, lambda array, row, col: self._read(row, col, col + 1, array))

    def show_glass(self) -> None:
        """Show what is absent as white."""
        self._array = filled(self._array, WHITE)

    def _broken(self, run: Sequence[Place]) -> Place:
        """The first chunk of a run that cannot be read by itself; the first of all where each can."""
        for row, col in run:
            try:
                self._read(row, col, col + 1)
            except (*BROKEN, OSError):
                return row, col
        return run[0]

    def _read(self, row: int, left: int, right: int, array: zarr.Array[Any] | None = None) -> NDArray[np.uint8]:
        """Some chunks of a row, [tile.height or less, columns, 3]; the first of several planes or times."""
        array = self._array if array is None else array
        where = {
            "y": slice(row * self.tile.height, min((row + 1) * self.tile.height, self.size.height)),
            "x": slice(left * self.tile.width, min(right * self.tile.width, self.size.width)),
            "c": slice(None),
        }
        with self._store.plain_errors():
            pixels = np.asarray(array[tuple(where.get(axis, 0) for axis in self._axes)], np.uint8)
        kept = [axis for axis in self._axes if axis in where]
        return np.ascontiguousarray(pixels.transpose([kept.index(axis) for axis in "yxc"]))


class OmeZarrReader(TiledSlide):
    """A slide in an OME-Zarr image.

    Args:
        address: Where it is.
        reason: Why this reader was chosen, for `oncoscope info`.
    """

    def __init__(self, address: Address, reason: str) -> None:
        with header_is_read():
            self._open(address, reason)

    def _open(self, address: Address, reason: str) -> None:
        """Find the image and describe it.

        Raises:
            DamagedSlideError: If there is none any more.
        """
        store = open_store(address)
        found = multiscale(store.fetch)
        if found is None:
            msg = "the Zarr group does not hold an image"
            raise DamagedSlideError(msg)
        layers = _layers(found, store)
        super().__init__(layers, levels_of(layers), exact=True)
        mpp, mpp_source, warnings = scale(address, found.properties)
        if layers[0].planes > 1:
            warnings.append("the image has several planes or times; the first is read")
        warnings += _shown_where_absent(layers)
        _, icc, about_colours = transform_of(address, None)
        self.info = SlideInfo(
            size=layers[0].size,
            mpp=mpp,
            mpp_source=mpp_source,
            format="ome-zarr",
            reader="ome-zarr",
            reader_reason=reason,
            levels=levels_of(layers),
            bounds=Region.whole(layers[0].size),
            objective_power=None,
            content_hash=layers[0].identify(store.identity(found.paths[0]), remote=address.is_remote),
            warnings=(*warnings, *about_colours),
            icc=icc,
        )

    @staticmethod
    def detect(address: Address) -> str | None:
        """Whether an OME-Zarr image stands at the address.

        Args:
            address: Of a Zarr group.

        Returns:
            The reason to take it, or None.
        """
        if not is_zarr(address) or multiscale(open_store(address).fetch) is None:
            return None
        return "it is an OME-Zarr image, so its chunks are read directly"


def _layers(found: Multiscale, store: ChunkStore) -> list[ChunkLayer]:
    """The arrays of an image, finest first.

    Raises:
        DamagedSlideError: If one is missing or they do not fall in size.
    """
    layers = []
    for path in found.paths:
        require_safe(store.fetch, path)
        try:
            with store.plain_errors():
                array = zarr.open_array(store.zarr, path=path, mode="r")
            layers.append(ChunkLayer(array, found.axes, store))
        except (*MALFORMED, OSError) as error:
            msg = "an array of the Zarr image is missing or damaged"
            raise DamagedSlideError(msg) from error
    widths = [layer.size.width for layer in layers]
    if widths != sorted(set(widths), reverse=True):
        msg = "the arrays of the Zarr image do not fall in size"
        raise DamagedSlideError(msg)
    return layers


def _shown_where_absent(layers: Sequence[ChunkLayer]) -> list[str]:
    """Decide what is shown where chunks are absent; a warning where that is known to be so of the full size."""
    glass = any(layer.may_be_sparse for layer in layers) and layers[-1].is_brightfield()
    for layer in layers if glass else ():
        layer.show_glass()
    if not layers[0].absent:
        return []
    shown = "glass" if glass else "the array's fill value"
    return [f"{layers[0].absent} of {len(layers[0].keys())} chunks of the image are absent; they are shown as {shown}"]


def _grid(shape: Sequence[int], step: Sequence[int]) -> list[int]:
    """How many chunks there are along each dimension."""
    return [-(-side // length) for side, length in zip(shape, step, strict=True)]


def _runs(places: Sequence[Place]) -> Iterator[list[Place]]:
    """Places in reading order as runs of neighbours in a row."""
    run: list[Place] = []
    for place in places:
        if run and place != (run[-1][0], run[-1][1] + 1):
            yield run
            run = []
        run.append(place)
    if run:
        yield run
