"""The tile store, opened for reading; `tiling.layout` says how it lies on disk."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import MemoryStore

from slides import SlideInfo
from tiling import layout
from tiling.commit import READERS, read_manifest, require_whole
from tiling.cut import families
from tiling.errors import DamagedStoreError, NotAStoreError, StoreError
from tiling.feed import cut_batches, stored_batches, stored_tiles
from tiling.members import Folder, members_of
from tiling.pool import LocalPool
from tiling.quality import tiles_quality
from tiling.tissue import TissueMask

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from zarr.core.buffer import Buffer

    from slides import Address
    from tiling.grid import TileGrid
    from tiling.members import Members
    from tiling.shard import Keep, ShardLayout


class TileStore:
    """A committed tile store, opened for reading.

    Args:
        where: The store's folder, or its `s3://bucket/prefix` address.

    Raises:
        NotAStoreError: If no committed tile store stands there.
        DamagedStoreError: If a member is missing, cut off or cannot be read.
    """

    def __init__(self, where: Path | str) -> None:
        manifest = read_manifest(where)
        if manifest.get("kind") != layout.KIND:
            msg = "the store at this place does not hold tiles"
            raise NotAStoreError(msg)
        require_whole(where, manifest)
        self.location = str(where)
        """The folder or address, as text."""
        self.fingerprint: str = manifest["fingerprint"]
        self._members = members_of(where)
        self._sizes: dict[str, int] = {name: member["bytes"] for name, member in manifest["members"].items()}
        self._group = _group(self._members, manifest["members"])
        attributes = layout.attributes(self._group)
        self.info = SlideInfo.from_json(attributes["slide"])
        self._found: dict[str, float] = attributes["found"]
        self.keep: Keep = attributes["keep"]
        self.provenance: dict[str, Any] = attributes["provenance"]
        self.grids = tuple(layout.read_grid(self._group, about) for about in attributes["zooms"])

    @classmethod
    def open(cls, where: Path | str) -> TileStore:
        """Open a committed store.

        Args:
            where: The store's folder, or its `s3://bucket/prefix` address.

        Returns:
            The store.
        """
        return cls(where)

    @property
    def path(self) -> Path:
        """The store's folder.

        Raises:
            StoreError: If it is in object storage.
        """
        if isinstance(self._members, Folder):
            return self._members.root
        msg = "the store is in object storage and has no folder on this machine"
        raise StoreError(msg)

    @property
    def zooms(self) -> tuple[float, ...]:
        """Scales in micrometres per pixel, the finest first."""
        return tuple(grid.mpp for grid in self.grids)

    @property
    def quality(self) -> dict[str, float]:
        """The slide as a whole.

        `tissue_mm2`; the share of the tissue under each artefact as the overview shows it; `out_of_focus`, the share of
        tiles of the finest zoom; and the median of each of their measures.
        """
        measures = self.rows(self.zooms[0], "quality")
        return self._found | tiles_quality(np.stack(list(measures.values()), axis=1), self.zooms[0])

    @property
    def mask(self) -> TissueMask:
        """Where tissue is."""
        array = layout.read_array(self._group, "mask")
        scale = (self.info.size.width / array.shape[1], self.info.size.height / array.shape[0])
        return TissueMask(array.astype(np.bool_), scale)

    def grid(self, mpp: float) -> TileGrid:
        """The grid of one zoom.

        Args:
            mpp: One of `zooms`.

        Returns:
            Its tiles.

        Raises:
            NotAStoreError: If the store has no such zoom.
        """
        for grid in self.grids:
            if abs(grid.mpp - mpp) < 1e-9:
                return grid
        msg = f"the store has no zoom of {mpp:g} um/px, only {', '.join(f'{zoom:g}' for zoom in self.zooms)}"
        raise NotAStoreError(msg)

    def batches(
        self, mpp: float, size: int, address: Address | None = None, threads: int = 2
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
        """All tiles of a zoom, in batches.

        Args:
            mpp: One of `zooms`.
            size: Tiles in a batch; the last may hold fewer.
            address: Where the slide is; needed where the store keeps no pixels.
            threads: Readers at work ahead of the caller.

        Returns:
            Pairs of indices into the grid [b] and pixels [b, px, px, 3].

        Raises:
            NotAStoreError: If the store keeps no pixels and no address is given.
        """
        grid = self.grid(mpp)
        if self.keep != "no":
            return stored_batches(self._members, grid, self._shard(grid), (size, threads))
        if address is None:
            msg = "the store keeps no pixels (--keep no); give the slide's address to cut them again"
            raise NotAStoreError(msg)
        family = self._family(grid)
        zoom = next(i for i, member in enumerate(family) if member is grid)
        return cut_batches(address, self.info, family, zoom, (size, threads))

    def tiles(self, mpp: float, index: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Some tiles of a zoom; no more than their bytes are read.

        Args:
            mpp: One of `zooms`.
            index: Positions in the grid, [n].

        Returns:
            Pixels [n, px, px, 3].

        Raises:
            NotAStoreError: If the store keeps no pixels.
        """
        if self.keep == "no":
            msg = "the store keeps no pixels (--keep no)"
            raise NotAStoreError(msg)
        grid = self.grid(mpp)
        return stored_tiles(self._members, grid, self._shard(grid), self._sizes, np.asarray(index, np.int64))

    def chosen(
        self, mpp: float, index: NDArray[np.int64], size: int, address: Address | None = None, threads: int = 2
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
        """Some tiles of a zoom, in batches; the slide is read at their places only.

        Args:
            mpp: One of `zooms`.
            index: Positions in the grid, ascending, [n].
            size: Tiles in a batch; the last may hold fewer.
            address: Where the slide is; needed where the store keeps no pixels.
            threads: Readers at work ahead of the caller.

        Yields:
            Pairs of positions in `index` [b] and pixels [b, px, px, 3]: the same that `batches` gives.

        Raises:
            NotAStoreError: If the store keeps no pixels and no address is given.
        """
        if self.keep != "no":
            for start in range(0, len(index), size):
                rows = np.arange(start, min(start + size, len(index)))
                yield rows, self.tiles(mpp, index[rows])
            return
        if address is None:
            msg = "the store keeps no pixels (--keep no); give the slide's address to cut them again"
            raise NotAStoreError(msg)
        grid = self.grid(mpp)
        finest, few = self._family(grid)[0], part_of(grid, index)
        family = [few] if finest is grid else [part_of(finest, index[:0]), few]
        yield from cut_batches(address, self.info, family, len(family) - 1, (size, threads))

    def rows(self, mpp: float, name: str) -> dict[str, NDArray[Any]]:
        """Numbers of every tile of a zoom.

        Args:
            mpp: One of `zooms`.
            name: `quality`, measured on the tile's pixels, or `artefacts`, the share of each on the tile.

        Returns:
            Column name -> [N].
        """
        grid = self.grid(mpp)
        path = f"zooms/{grid.mpp:g}/{name}"
        columns = cast("list[str]", self._group[path].attrs["columns"])
        return dict(zip(columns, layout.read_array(self._group, path).T, strict=True))

    def _family(self, grid: TileGrid) -> Sequence[TileGrid]:
        return next(family for family in families(self.grids) if any(member is grid for member in family))

    def _shard(self, grid: TileGrid) -> ShardLayout:
        return layout.shard_layouts(self._family(grid), self.keep)[grid.mpp]


def part_of(grid: TileGrid, index: NDArray[np.int64]) -> TileGrid:
    """Keep some tiles of a grid.

    Args:
        grid: The grid.
        index: Positions in it, ascending, [n].

    Returns:
        The same grid with these tiles alone.
    """
    return replace(grid, cells=grid.cells[index], tissue=grid.tissue[index], parent=grid.parent[index])


def _group(members: Members, listed: Mapping[str, Any]) -> zarr.Group:
    """The store for the zarr library: everything but the pixels is read now, and checked, attributes too."""

    def fetch(name: str) -> Buffer:
        try:
            content = members.read(name)
        except FileNotFoundError:
            content = b""
        if hashlib.sha256(content).hexdigest() != listed[name]["sha256"]:
            msg = f"the store is damaged: {name} is missing or altered"
            raise DamagedStoreError(msg)
        return default_buffer_prototype().buffer.from_bytes(content)

    small = [name for name in listed if not layout.is_shard(name)]
    with LocalPool(READERS) as pool:
        return zarr.open_group(MemoryStore(dict(zip(small, pool.map(fetch, small), strict=True))), mode="r")
