"""The layout of STAMP: `feats` and `coords` in one HDF5 file, places in micrometres, what is known on the file."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import h5py
import numpy as np

from foundation.errors import InterchangeError
from foundation.interchange import guarded
from foundation.interchange.places import rounded_places
from foundation.interchange.placing import placed
from foundation.interchange.tiles import NOTE, Found, Stated, Tiles, encoder_key, positive, whole
from slides import Mpp

VERSION: Final = "2.1.0"
"""The first that says `tile_size_um`. STAMP refuses files that say a newer version than its own."""


def write_stamp(tiles: Tiles, out: Path) -> list[Path]:
    """Write a slide as STAMP does.

    Args:
        tiles: The slide's.
        out: The folder.

    Returns:
        The file.

    Raises:
        InterchangeError: If the slide is so large that its places are not kept exactly.
    """
    mpp0 = tiles.info.require_mpp()
    scale = np.array([mpp0.x, mpp0.y])
    micrometres = (tiles.coords * scale).astype(np.float32)
    if not np.array_equal(np.rint(micrometres / scale), tiles.coords):
        raise InterchangeError("STAMP keeps places in 32 bits of micrometres, and this slide is too large for them.")
    path = out / f"{tiles.name}.h5"
    with placed(path) as aside, h5py.File(aside, "w") as file:
        file["coords"] = micrometres
        file["feats"] = tiles.features
        file.attrs.update(
            stamp_version=VERSION,
            extractor=tiles.encoder["key"],
            unit="um",
            tile_size_um=tiles.px * tiles.mpp,
            tile_size_px=tiles.px,
            code_hash=tiles.fingerprint[:8],
            feat_type="tile",
        )
        file.attrs[NOTE] = tiles.note()
    return [path]


def read(file: h5py.File, mpp0: Mpp | None) -> Found:
    """Read a slide that STAMP wrote.

    Args:
        file: As `guarded.opened` gives it.
        mpp0: Scale of level 0 as the caller states it.

    Returns:
        What stands in it.

    Raises:
        InterchangeError: If it is not about tiles, not in micrometres, or the scale of level 0 is not known.
    """
    about = guarded.attributes(file)
    if about.get("feat_type", "tile") != "tile":
        raise InterchangeError("The file holds the features of a slide or patient, not of tiles.")
    side = positive(about.get("tile_size_um")) or positive(about.get("tile_size"))
    if about.get("unit") != "um" or side is None:
        raise InterchangeError("The file does not say that its places are in micrometres; STAMP before 2.0 wrote such.")
    px = whole(about.get("tile_size_px"))
    stated = Stated(
        encoder=encoder_key(about.get("extractor")), px=px or None, mpp=side / px if px else None
    ).with_note(about.get(NOTE))
    scale = (mpp0.x, mpp0.y) if mpp0 else stated.mpp0
    if scale is None:
        raise InterchangeError("The places are in micrometres; give the level-0 scale (--mpp0).")
    features = guarded.array(file, "feats", kinds="f")
    micrometres = guarded.array(file, "coords", kinds="iuf", rows=len(features), width=2)
    places, rounded = rounded_places(micrometres.astype(np.float64) / scale)
    return Found(features, places, stated, rounded=rounded)
