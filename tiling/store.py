"""The tile store: one Zarr v3 group a slide, a group a zoom, whole or absent.

::

    <fingerprint>.tiles.zarr/
        manifest.json              every member with size and SHA-256
        zarr.json                  attributes: slide, specs, provenance
        mask                       uint8 [h, w], 1 where tissue is
        zooms/<mpp>/cells          int32 [N, 2] row, column
        zooms/<mpp>/coords         int64 [N, 2] level-0 x, y of the top left
        zooms/<mpp>/tissue         float32 [N] share of tissue
        zooms/<mpp>/parent         int64 [N] index in the next coarser zoom, -1 for none
        zooms/<mpp>/pixels         uint8 [3, rows * px, columns * px], one chunk a tile; white where no tile is kept

Without overlap `pixels` is the slide at exactly that scale, and `zooms` carries OME-NGFF 0.5 multiscale attributes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec, TransposeCodec, ZstdCodec

from slides import Mpp, SlideInfo
from tiling import jpeg_codec
from tiling.commit import read_manifest, require_whole
from tiling.cut import BLOCK_COLS, GLASS, Block, families
from tiling.errors import DamagedStoreError, NotAStoreError
from tiling.feed import cut_batches, stored_batches
from tiling.grid import TileGrid, TileSpec
from tiling.tissue import TissueMask

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from slides import Address

KIND = "oncoscope-tiles"
FORMAT = 1
CHECKED = (ZstdCodec(level=3), Crc32cCodec())
"""Codecs of small arrays: a flipped bit is an error, not another number."""


class TileStore:
    """A committed tile store, opened for reading.

    Args:
        path: The store's folder.

    Raises:
        NotAStoreError: If no committed tile store stands there.
        DamagedStoreError: If a member is missing, cut off or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        manifest = read_manifest(path)
        if manifest.get("kind") != KIND:
            msg = "the store at this place does not hold tiles"
            raise NotAStoreError(msg)
        require_whole(path)
        self.path = path
        self.fingerprint: str = manifest["fingerprint"]
        self._group = zarr.open_group(path, mode="r")
        attributes = _attributes(self._group)
        self.info = SlideInfo.from_json(attributes["slide"])
        self.keep: str = attributes["keep"]
        self.provenance: dict[str, Any] = attributes["provenance"]
        self.grids = tuple(_read_grid(self._group, about) for about in attributes["zooms"])

    @classmethod
    def open(cls, path: Path) -> TileStore:
        """Open a committed store.

        Args:
            path: The store's folder.

        Returns:
            The store.
        """
        return cls(path)

    @property
    def zooms(self) -> tuple[float, ...]:
        """Scales in micrometres per pixel, the finest first."""
        return tuple(grid.mpp for grid in self.grids)

    @property
    def mask(self) -> TissueMask:
        """Where tissue is."""
        array = _read(self._group, "mask")
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
            pixels = cast("zarr.Array[Any]", self._group[f"zooms/{grid.mpp:g}/pixels"])
            return stored_batches(pixels, grid, size, threads)
        if address is None:
            msg = "the store keeps no pixels (--keep no); give the slide's address to cut them again"
            raise NotAStoreError(msg)
        family = next(family for family in families(self.grids) if any(member is grid for member in family))
        zoom = next(i for i, member in enumerate(family) if member is grid)
        return cut_batches(address, self.info, family, zoom, (size, threads))


def staged_grids(folder: Path, zooms: Sequence[float]) -> list[TileGrid]:
    """Grids of a store that is still being written; for the workers that write it.

    Args:
        folder: The staging folder.
        zooms: Which scales.

    Returns:
        Their grids.
    """
    group = zarr.open_group(folder, mode="r")
    abouts = _attributes(group)["zooms"]
    return [_read_grid(group, about) for about in abouts if about["spec"]["mpp"] in zooms]


def _read_grid(group: zarr.Group, about: dict[str, Any]) -> TileGrid:
    spec = TileSpec(**about["spec"])
    cells, tissue, parent = (_read(group, f"zooms/{spec.mpp:g}/{name}") for name in ("cells", "tissue", "parent"))
    return TileGrid(spec, Mpp(*about["mpp0"]), tuple(about["origin"]), tuple(about["shape"]), cells, tissue, parent)


def _attributes(group: zarr.Group) -> dict[str, Any]:
    """Our attributes of a store."""
    return cast("dict[str, Any]", group.attrs["oncoscope"])


def _read(group: zarr.Group, name: str) -> NDArray[Any]:
    """A small array, checked by its codecs.

    Raises:
        DamagedStoreError: If it is missing or a codec finds it altered.
    """
    try:
        return np.asarray(group[name][...])  # type: ignore[index]  # an array by construction
    except (KeyError, ValueError, RuntimeError, OSError) as error:
        msg = f"the store is damaged: {name} cannot be read"
        raise DamagedStoreError(msg) from error


def create(folder: Path, info: SlideInfo, grids: Sequence[TileGrid], mask: TissueMask, about: dict[str, Any]) -> None:
    """Lay out a store in a staging folder: everything but the pixels.

    Args:
        folder: The staging folder.
        info: The slide.
        grids: Finest first.
        mask: Where tissue is.
        about: `keep`, `quality` and `provenance`.
    """
    group = zarr.create_group(folder)
    zooms = [
        {
            "spec": _spec_json(g.spec),
            "mpp0": [g.mpp0.x, g.mpp0.y],
            "origin": list(g.origin),
            "shape": list(g.shape),
            "tiles": len(g),
        }
        for g in grids
    ]
    attributes: Any = {"kind": KIND, "format": FORMAT, "slide": info.to_json(), "zooms": zooms, **about}
    group.attrs["oncoscope"] = attributes
    group.create_array("mask", data=mask.array.astype(np.uint8), compressors=CHECKED)
    top = group.create_group("zooms")
    for grid in grids:
        zoom = top.create_group(f"{grid.mpp:g}")
        for name in ("cells", "coords", "tissue", "parent"):
            zoom.create_array(name, data=getattr(grid, name), compressors=CHECKED)
        if about["keep"] != "no":
            _create_pixels(zoom, grid, about)
    if about["keep"] != "no" and all(grid.spec.overlap == 0 for grid in grids):
        top.attrs["ome"] = _ngff(grids)


def write_tiles(
    folder: Path, grid: TileGrid, block: tuple[Block, int], index: NDArray[np.int64], tiles: NDArray[np.uint8]
) -> None:
    """Write a block's tiles of one zoom, as whole shards: no other worker touches the same file.

    Args:
        folder: The staging folder.
        grid: The zoom's grid.
        block: The block and the zoom's position in it.
        index: Indices of the tiles in their grid, [n].
        tiles: Pixels, [n, px, px, 3].
    """
    if not len(index):
        return
    (top, bottom), (left, right) = block[0].rows[block[1]], block[0].cols[block[1]]
    array = zarr.open_array(folder / "zooms" / f"{grid.mpp:g}" / "pixels", mode="r+")
    px, bottom, right = grid.spec.px, min(bottom, grid.shape[0]), min(right, grid.shape[1])
    image = np.full((3, (bottom - top) * px, (right - left) * px), GLASS, np.uint8)
    for (row, col), tile in zip(grid.cells[index] - np.array([top, left]), tiles, strict=True):
        image[:, row * px : (row + 1) * px, col * px : (col + 1) * px] = tile.transpose(2, 0, 1)
    array[:, top * px : bottom * px, left * px : right * px] = image


def _create_pixels(zoom: zarr.Group, grid: TileGrid, about: dict[str, Any]) -> None:
    px, (rows, cols) = grid.spec.px, grid.shape
    block_cols = max(1, BLOCK_COLS // about["ratios"][f"{grid.mpp:g}"])
    jpeg = jpeg_codec.JpegCodec(about["quality"])
    zoom.create_array(
        "pixels",
        shape=(3, rows * px, cols * px),
        dtype=np.uint8,
        chunks=(3, px, px),
        shards=(3, px, px * block_cols),
        filters=[TransposeCodec(order=(1, 2, 0))],
        serializer=jpeg if about["keep"] == "jpeg" else BytesCodec(),
        compressors=[Crc32cCodec()],
        fill_value=GLASS,
        dimension_names=("c", "y", "x"),
    )


def _spec_json(spec: TileSpec) -> dict[str, Any]:
    return {"mpp": spec.mpp, "px": spec.px, "overlap": spec.overlap, "min_tissue": spec.min_tissue}


def _ngff(grids: Sequence[TileGrid]) -> Any:  # noqa: ANN401 - JSON
    """OME-NGFF 0.5 multiscales, so that napari and other viewers show the store as one image."""
    axes = [{"name": "c", "type": "channel"}, *({"name": name, "type": "space", "unit": "micrometer"} for name in "yx")]
    datasets = []
    for grid in grids:
        corner = [0.0, grid.origin[1] * grid.mpp0.y, grid.origin[0] * grid.mpp0.x]
        transforms = [
            {"type": "scale", "scale": [1.0, grid.mpp, grid.mpp]},
            {"type": "translation", "translation": corner},
        ]
        datasets.append({"path": f"{grid.mpp:g}/pixels", "coordinateTransformations": transforms})
    return {"version": "0.5", "multiscales": [{"name": "tiles", "axes": axes, "datasets": datasets}]}
