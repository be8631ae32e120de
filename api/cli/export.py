"""`export`, `import`: features to and from the layouts of other tools."""

from __future__ import annotations

import argparse
from pathlib import Path

from api import NOTICE
from api.cli.reply import Reply
from api.errors import BadRequestError
from api.stores import kind_of
from foundation import Embeddings
from slides import Mpp, SlideInfo


def export(arguments: argparse.Namespace) -> Reply:
    """Write one zoom of an embeddings store in the layout of another tool.

    Args:
        arguments: `store`, `to`, `out`, `mpp`, `name`.

    Returns:
        The reply.

    Raises:
        BadRequestError: If the store does not hold embeddings.
    """
    from foundation.embeddings import KIND
    from foundation.interchange import export_features

    if kind_of(arguments.store) != KIND:
        raise BadRequestError("no embeddings stand at this place; make them with `oncoscope embed`")
    embeddings = Embeddings.open(arguments.store)
    if arguments.to == "geojson":
        files = [_write_geojson(embeddings, arguments.out, arguments.mpp, arguments.name)]
    else:
        how = {"mpp": arguments.mpp, "name": arguments.name}
        files = export_features(embeddings, arguments.to, arguments.out, **how)
    document = {
        "layout": arguments.to,
        "files": [str(file) for file in files],
        "encoder": embeddings.encoder["key"],
        "embeddings": embeddings.fingerprint,
    }
    return Reply(document, "\n".join([*map(str, files), NOTICE]))


def import_file(arguments: argparse.Namespace) -> Reply:
    """Read a file of features that another tool wrote into an embeddings store.

    Args:
        arguments: `file`, `source`, `out`, `encoder`, `mpp0`, `mpp`, `tile`.

    Returns:
        The reply.
    """
    from foundation.interchange import ImportOptions, import_features

    mpp0 = None if arguments.mpp0 is None else Mpp.of(arguments.mpp0)
    told = ImportOptions(encoder=arguments.encoder, mpp0=mpp0, mpp=arguments.mpp, px=arguments.tile)
    made = import_features(arguments.file, arguments.source, arguments.out, told)
    document = {
        "store": str(made.path),
        "encoder": made.encoder,
        "tiles": {f"{mpp:g}": len(made.coords(mpp)) for mpp in made.zooms},
        "provenance": made.provenance,
        "fingerprint": made.fingerprint,
    }
    return Reply(document, f"{made.path}\n{NOTICE}", warnings=made.slide["warnings"])


def _write_geojson(embeddings: Embeddings, out: Path, mpp: float | None, name: str | None) -> Path:
    """Write the tiles as objects that QuPath imports."""
    from api.asking import grid_of
    from biomarkers.export.geojson import TileLayer, write_geojson
    from foundation.interchange.placing import placed
    from foundation.interchange.tiles import tiles_of

    tiles = tiles_of(embeddings, mpp, name)
    info = SlideInfo.from_json(embeddings.slide)
    layer = TileLayer(info, grid_of(embeddings, tiles.mpp), embeddings.fingerprint, {"tissue": tiles.tissue})
    path = out / f"{tiles.name}.geojson"
    with placed(path) as aside:
        write_geojson(aside, layer, NOTICE)
    return path
