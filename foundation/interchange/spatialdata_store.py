"""SpatialData as wsidata and LazySlide read it: tiles as shapes, their features as a table, in one Zarr store.

The extra `spatialdata` brings the libraries. It holds back pydantic and setuptools, so it is better installed in an
environment of its own.
"""

from __future__ import annotations

import re
import shutil
import uuid
import warnings
from pathlib import Path
from typing import Any, Final

from foundation.errors import InterchangeError
from foundation.interchange.anndata_table import table
from foundation.interchange.extra import library
from foundation.interchange.tiles import NOTE, Tiles
from tiling.commit import STAGING_SUFFIX, no_space, sync, sync_tree

EXTRA: Final = "spatialdata"
SHAPES: Final = "tiles"


def write_spatialdata(tiles: Tiles, out: Path) -> list[Path]:
    """Write a slide as a SpatialData store.

    Args:
        tiles: The slide's.
        out: The folder.

    Returns:
        The store's folder: `shapes/tiles` and `tables/<encoder>_tiles`.

    Raises:
        InterchangeError: If something of that name is there already.
    """
    final = out / f"{tiles.name}.zarr"
    if final.exists():
        raise InterchangeError("A store of that name is in the folder already; choose another folder or name.")
    made = _spatial_data(tiles)
    out.mkdir(parents=True, exist_ok=True)
    aside = final.with_name(f".{final.name}.{uuid.uuid4().hex[:12]}{STAGING_SUFFIX}")
    try:
        with no_space(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the library's own, about its next version
            made.write(aside)
        sync_tree(aside)
        aside.rename(final)
        sync(out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return [final]


def _spatial_data(tiles: Tiles) -> Any:  # noqa: ANN401 - a SpatialData, of a library that may not be there
    """The slide in memory."""
    spatialdata, models = library("spatialdata", EXTRA), library("spatialdata.models", EXTRA)
    # Keys of SpatialData are words.
    key = f"{re.sub('[^A-Za-z0-9_.-]', '_', str(tiles.encoder['key']))}_{SHAPES}"
    rows = table(tiles, region=SHAPES)
    rows = models.TableModel.parse(rows, region=SHAPES, region_key="library_id", instance_key="tile_id")
    return spatialdata.SpatialData(
        shapes={SHAPES: models.ShapesModel.parse(_boxes(tiles))},
        tables={key: rows},
        attrs={
            "tile_spec": {SHAPES: _tile_spec(tiles)},
            "slide_properties": _slide_properties(tiles),
            NOTE: tiles.note(),
        },
    )


def _boxes(tiles: Tiles) -> Any:  # noqa: ANN401 - a GeoDataFrame
    """Every tile as a rectangle at level 0."""
    geopandas, shapely = library("geopandas", EXTRA), library("shapely", EXTRA)
    left, top = tiles.coords[:, 0], tiles.coords[:, 1]
    boxes = shapely.box(left, top, left + round(tiles.extent[0]), top + round(tiles.extent[1]))
    number = list(range(len(left)))
    return geopandas.GeoDataFrame({
        "tile_id": number,
        "x": left,
        "y": top,
        "tissue_id": [0] * len(number),
        "geometry": boxes,
    })


def _tile_spec(tiles: Tiles) -> dict[str, object]:
    """How tiles were cut, in the words of wsidata; read from level 0, which every slide has."""
    stride = tiles.px - tiles.overlap
    factor = tiles.extent[0] / tiles.px
    return {
        "height": tiles.px,
        "width": tiles.px,
        "stride_height": stride,
        "stride_width": stride,
        "mpp": tiles.mpp,
        "ops_level": 0,
        "ops_downsample": factor,
        "base_level": 0,
        "base_downsample": factor,
        "tissue_name": None,
    }


def _slide_properties(tiles: Tiles) -> dict[str, object]:
    """What is known of the slide, in the words of wsidata; nothing of its header."""
    info = tiles.info
    bounds = info.bounds
    return {
        "shape": [info.size.height, info.size.width],
        "n_level": len(info.levels),
        "level_shape": [[level.size.height, level.size.width] for level in info.levels],
        "level_downsample": [level.downsample for level in info.levels],
        "mpp": info.require_mpp().x,
        "magnification": info.objective_power,
        "bounds": [bounds.x, bounds.y, bounds.width, bounds.height],
    }
