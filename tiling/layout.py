"""How a tile store lies on disk: one Zarr v3 group a slide, a group a zoom.

::

    <fingerprint>.tiles.zarr/
        manifest.json              every member with size and SHA-256
        zarr.json                  attributes: slide, specs, provenance
        mask                       uint8 [h, w], 1 where tissue is
        zooms/<mpp>/cells          int32 [N, 2] row, column
        zooms/<mpp>/coords         int64 [N, 2] level-0 x, y of the top left
        zooms/<mpp>/tissue         float32 [N] share of tissue
        zooms/<mpp>/parent         int64 [N] index in the next coarser zoom, -1 for none
        zooms/<mpp>/quality        float32 [N, k] measures of the tile's pixels, named in its attributes
        zooms/<mpp>/artefacts      float32 [N, k] share of each artefact, named in its attributes
        zooms/<mpp>/pixels         uint8 [3, rows * px, columns * px], one chunk a tile; white where no tile is kept

Without overlap `pixels` is the slide at exactly that scale, and `zooms` carries OME-NGFF 0.5 multiscale attributes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec, TransposeCodec, ZstdCodec

from slides import Mpp
from tiling import jpeg_codec
from tiling.cut import GLASS, block_shape, families, ratios_of
from tiling.errors import DamagedStoreError
from tiling.grid import TileGrid
from tiling.shard import Keep, ShardLayout
from tiling.spec import TileSpec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from slides import SlideInfo
    from tiling.tissue import TissueMask

KIND = "oncoscope-tiles"
FORMAT = 2
CHECKED = (ZstdCodec(level=3), Crc32cCodec())
"""Codecs of small arrays: a flipped bit is an error, not another number."""


@lru_cache(maxsize=4)
def staged_grids(folder: Path, zooms: tuple[float, ...]) -> tuple[TileGrid, ...]:
    """Grids of a store that is still being written; for the workers that write it.

    Args:
        folder: The staging folder; its name says what is in it.
        zooms: Which scales.

    Returns:
        Their grids.
    """
    group = zarr.open_group(folder, mode="r")
    abouts = attributes(group)["zooms"]
    return tuple(read_grid(group, about) for about in abouts if about["spec"]["mpp"] in zooms)


def read_grid(group: zarr.Group, about: dict[str, Any]) -> TileGrid:
    """A grid as it is stored.

    Args:
        group: The store.
        about: The zoom's entry in the attributes.

    Returns:
        The grid.
    """
    spec = TileSpec(**about["spec"])
    cells, tissue, parent = (read_array(group, f"zooms/{spec.mpp:g}/{name}") for name in ("cells", "tissue", "parent"))
    place = Mpp(*about["mpp0"]), tuple(about["origin"]), tuple(about["shape"])
    return TileGrid(spec, *place, cells, tissue, parent, about["snap"])


def attributes(group: zarr.Group) -> dict[str, Any]:
    """Our attributes of a store.

    Args:
        group: The store.

    Returns:
        JSON values.
    """
    return cast("dict[str, Any]", group.attrs["oncoscope"])


def read_array(group: zarr.Group, name: str) -> NDArray[Any]:
    """A small array, checked by its codecs.

    Args:
        group: The store.
        name: Of the array.

    Returns:
        All of it.

    Raises:
        DamagedStoreError: If it is missing or a codec finds it altered.
    """
    try:
        return np.asarray(group[name][...])  # type: ignore[index]  # an array by construction
    except (KeyError, ValueError, RuntimeError, OSError) as error:
        msg = f"the store is damaged: {name} cannot be read"
        raise DamagedStoreError(msg) from error


def create(folder: Path, info: SlideInfo, grids: Sequence[TileGrid], mask: TissueMask, about: dict[str, Any]) -> None:
    """Lay out a store: everything but what the pixels say.

    Args:
        folder: An empty folder.
        info: The slide.
        grids: Finest first.
        mask: Where tissue is.
        about: `keep`, `quality`, `found` and `provenance`.
    """
    group = zarr.create_group(folder)
    zooms = [
        {
            "spec": _spec_json(g.spec),
            "mpp0": [g.mpp0.x, g.mpp0.y],
            "origin": list(g.origin),
            "shape": list(g.shape),
            "snap": g.snap,
            "tiles": len(g),
        }
        for g in grids
    ]
    document: Any = {"kind": KIND, "format": FORMAT, "slide": info.to_json(), "zooms": zooms, **about}
    group.attrs["oncoscope"] = document
    group.create_array("mask", data=mask.array.astype(np.uint8), compressors=CHECKED)
    top = group.create_group("zooms")
    shards = shard_layouts(grids, about["keep"])
    for grid in grids:
        zoom = top.create_group(f"{grid.mpp:g}")
        for name in ("cells", "coords", "tissue", "parent"):
            zoom.create_array(name, data=getattr(grid, name), compressors=CHECKED)
        if about["keep"] != "no":
            _create_pixels(zoom, grid, shards[grid.mpp], about["quality"])
    if about["keep"] != "no" and all(grid.spec.overlap == 0 for grid in grids):
        top.attrs["ome"] = _ngff(grids)


def add_rows(folder: Path, mpp: float, name: str, rows: NDArray[Any], columns: Sequence[str]) -> None:
    """Add an array with a row for each tile; one that an earlier run left is replaced.

    Args:
        folder: The store, not committed yet.
        mpp: The zoom.
        name: Of the array.
        rows: [N, k].
        columns: What the k columns are.
    """
    zoom = zarr.open_group(folder / "zooms" / f"{mpp:g}", mode="r+")
    array = zoom.create_array(name, data=rows, compressors=CHECKED, overwrite=True)
    array.attrs["columns"] = list(columns)


def shard_layouts(grids: Sequence[TileGrid], keep: Keep) -> dict[float, ShardLayout]:
    """The shards of each zoom: a block each.

    Args:
        grids: All zooms, or those of one family, finest first.
        keep: How pixels are kept.

    Returns:
        Scale -> layout.
    """
    found = {}
    for family in families(grids):
        rows, cols = block_shape(family)
        for grid, ratio in zip(family, ratios_of(family), strict=True):
            found[grid.mpp] = ShardLayout(rows // ratio, cols // ratio, grid.spec.px, keep)
    return found


def shard_name(grid: TileGrid, row: int, col: int) -> str:
    """The member that holds a shard.

    Args:
        grid: The zoom.
        row: Of the shard.
        col: Of the shard.

    Returns:
        Its name in the store.
    """
    return f"zooms/{grid.mpp:g}/pixels/c/0/{row}/{col}"


def is_shard(member: str) -> bool:
    """Whether a member holds pixels.

    Args:
        member: Its name in the store.

    Returns:
        True for what `shard_name` gives.

    >>> is_shard("zooms/0.5/pixels/c/0/3/1"), is_shard("zooms/0.5/pixels/zarr.json")
    (True, False)
    """
    return "/pixels/c/" in member


def _create_pixels(zoom: zarr.Group, grid: TileGrid, shard: ShardLayout, quality: int) -> None:
    px, (rows, cols) = grid.spec.px, grid.shape
    jpeg = jpeg_codec.JpegCodec(quality)
    zoom.create_array(
        "pixels",
        shape=(3, rows * px, cols * px),
        dtype=np.uint8,
        chunks=(3, px, px),
        shards=(3, px * shard.rows, px * shard.cols),
        filters=[TransposeCodec(order=(1, 2, 0))],
        serializer=jpeg if shard.keep == "jpeg" else BytesCodec(),
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
