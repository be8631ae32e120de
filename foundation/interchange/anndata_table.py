"""AnnData: features as `X`, a row of `obs` for every tile, places in `obsm['spatial']`.

It is written by the library, which the extra `anndata` brings, and read without it: a file of others is opened by
`guarded` alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

from foundation.errors import InterchangeError
from foundation.interchange import guarded
from foundation.interchange.extra import library
from foundation.interchange.places import whole_places
from foundation.interchange.placing import placed
from foundation.interchange.tiles import NOTE, Found, Stated, Tiles
from slides import Mpp

EXTRA: Final = "anndata"


def write_anndata(tiles: Tiles, out: Path) -> list[Path]:
    """Write a slide as an `.h5ad` file.

    Args:
        tiles: The slide's.
        out: The folder.

    Returns:
        The file.
    """
    made = table(tiles, region=tiles.name)
    path = out / f"{tiles.name}.h5ad"
    with placed(path) as aside:
        made.write_h5ad(aside)
    return [path]


def table(tiles: Tiles, region: str) -> Any:  # noqa: ANN401 - an AnnData, of a library that may not be there
    """A slide as an AnnData.

    Args:
        tiles: The slide's.
        region: The `library_id` of all its tiles.

    Returns:
        `X` float32 [N, D]; `obs` with `tile_id`, `library_id`, `x`, `y` (level-0 pixels, top left) and `tissue`;
        `obsm['spatial']` int64 [N, 2], x and y again; `uns['oncoscope']`, what else is known, as JSON.
    """
    anndata, pandas = library("anndata", EXTRA), library("pandas", EXTRA)
    number = np.arange(len(tiles.coords))
    obs = pandas.DataFrame(
        {
            "tile_id": number,
            "library_id": pandas.Categorical([region] * len(number)),
            "x": tiles.coords[:, 0],
            "y": tiles.coords[:, 1],
            "tissue": tiles.tissue,
        },
        index=number.astype(str),
    )
    features = tiles.features.astype(np.float32)  # exact; half precision is not known to all that works on AnnData
    return anndata.AnnData(X=features, obs=obs, obsm={"spatial": tiles.coords}, uns={NOTE: tiles.note()})


def read(file: h5py.File, _mpp0: Mpp | None) -> Found:
    """Read a slide from an `.h5ad` file.

    Args:
        file: As `guarded.opened` gives it.

    Returns:
        What stands in it.

    Raises:
        InterchangeError: If it has no dense `X` or no `obsm['spatial']`.
    """
    if isinstance(file.get("X"), h5py.Group):
        raise InterchangeError("The features are stored as a sparse matrix, which features of tiles are not.")
    features = guarded.array(file, "X", kinds="f")
    obsm, uns = file.get("obsm"), file.get("uns")
    if not isinstance(obsm, h5py.Group):
        raise InterchangeError("The file has no obsm['spatial'], so nobody knows where its rows are.")
    coords = whole_places(guarded.array(obsm, "spatial", kinds="iuf", rows=len(features), width=2))
    note = guarded.text(uns, NOTE) if isinstance(uns, h5py.Group) else None
    return Found(features, coords, Stated().with_note(note))
