"""The layouts of TRIDENT and CLAM: `features` and `coords` in one HDF5 file, places in level-0 pixels.

One file serves both; CLAM's own has 32-bit places, TRIDENT's 64-bit ones and attributes, which CLAM does not read.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from foundation.errors import InterchangeError
from foundation.interchange import guarded
from foundation.interchange.places import whole_places
from foundation.interchange.placing import placed
from foundation.interchange.tiles import NOTE, Found, Stated, Tiles, encoder_key, positive, whole
from slides import Mpp

ROWS: Final = 1024
"""Tiles in a chunk; TRIDENT writes one, which makes larger files."""
NONE: Final = "None"
"""How TRIDENT writes None."""
POWERS: Final = ((0.16, 80), (0.2, 60), (0.3, 40), (0.6, 20), (1.2, 10), (2.4, 5))
"""Scales below the first number, um/px, are called the second by TRIDENT."""


def write_trident(tiles: Tiles, out: Path) -> list[Path]:
    """Write a slide as TRIDENT does.

    Args:
        tiles: The slide's.
        out: The folder.

    Returns:
        The files.
    """
    places = out / "patches" / f"{tiles.name}_patches.h5"
    with placed(places) as aside, h5py.File(aside, "w") as file:
        _table(file, "coords", tiles.coords, _place_attributes(tiles))
        file.attrs[NOTE] = tiles.note()
    return [places, _features(out / f"{tiles.name}.h5", tiles, tiles.coords)]


def write_clam(tiles: Tiles, out: Path) -> list[Path]:
    """Write a slide as CLAM does.

    Args:
        tiles: The slide's.
        out: The folder.

    Returns:
        The files.

    Raises:
        InterchangeError: If a place needs more than 32 bits.
    """
    import torch

    if np.abs(tiles.coords).max() > np.iinfo(np.int32).max:
        raise InterchangeError("CLAM keeps places in 32 bits, and a tile of this slide lies beyond them.")
    coords = tiles.coords.astype(np.int32)
    places, bare = out / "patches" / f"{tiles.name}.h5", out / "pt_files" / f"{tiles.name}.pt"
    with placed(places) as aside, h5py.File(aside, "w") as file:
        _table(file, "coords", coords, _clam_attributes(tiles))
        file.attrs[NOTE] = tiles.note()
    buffer = io.BytesIO()  # in a file, torch would write the file's name into it
    torch.save(torch.from_numpy(tiles.features.astype(np.float32)), buffer)
    with placed(bare) as aside:
        aside.write_bytes(buffer.getvalue())
    return [places, bare, _features(out / "h5_files" / f"{tiles.name}.h5", tiles, coords)]


def read(file: h5py.File, _mpp0: Mpp | None) -> Found:
    """Read a slide that TRIDENT or CLAM wrote.

    Args:
        file: As `guarded.opened` gives it.

    Returns:
        What stands in it.
    """
    features = guarded.array(file, "features", kinds="f")
    coords = whole_places(guarded.array(file, "coords", kinds="iuf", rows=len(features), width=2))
    about = guarded.attributes(file["coords"])
    level0_px = positive(about.get("patch_size_level0"))
    stated = Stated(
        encoder=encoder_key(guarded.attributes(file["features"]).get("encoder")),
        # CLAM calls the side at some level of the slide `patch_size` too, and does not say it at level 0
        px=whole(about.get("patch_size")) if level0_px else None,
        level0_px=level0_px,
        overlap=whole(about.get("overlap")),
        size=_size(about),
    )
    return Found(features, coords, stated.with_note(guarded.attributes(file).get(NOTE)))


def _features(path: Path, tiles: Tiles, coords: NDArray[np.integer[Any]]) -> Path:
    """The file that holds features and places."""
    about = {"name": tiles.name, "savetodir": NONE, "encoder": tiles.encoder["key"]}
    with placed(path) as aside, h5py.File(aside, "w") as file:
        _table(file, "features", tiles.features.astype(np.float32), about)
        _table(file, "coords", coords, _place_attributes(tiles))
        file.attrs[NOTE] = tiles.note()
    return path


def _table(file: h5py.File, name: str, rows: NDArray[Any], about: dict[str, object]) -> None:
    """One array with its attributes."""
    table = file.create_dataset(name, data=rows, chunks=(min(ROWS, len(rows)), rows.shape[1]))
    for key, value in about.items():
        table.attrs[key] = value


def _place_attributes(tiles: Tiles) -> dict[str, object]:
    """What TRIDENT says of places; never a folder, for its name may be a patient's."""
    return {
        "patch_size": tiles.px,
        "patch_size_level0": round(tiles.extent[0]),
        "level0_magnification": _power(tiles.info.require_mpp().x),
        "target_magnification": _power(tiles.mpp),
        "overlap": tiles.overlap,
        "name": tiles.name,
        "savetodir": NONE,
        "level0_width": tiles.info.size.width,
        "level0_height": tiles.info.size.height,
    }


def _clam_attributes(tiles: Tiles) -> dict[str, object]:
    """What CLAM says of places, all at level 0, which every slide has."""
    size = np.array([tiles.info.size.width, tiles.info.size.height])
    return {
        "patch_size": round(tiles.extent[0]),
        "patch_level": 0,
        "downsample": np.ones(2),
        "downsampled_level_dim": size,
        "level_dim": size,
        "name": tiles.name,
        "save_path": NONE,
    }


def _power(mpp: float) -> int | str:
    """The magnification that a scale is called."""
    return next((power for below, power in POWERS if mpp < below), NONE)


def _size(about: dict[str, str | int | float]) -> tuple[int, int] | None:
    """The slide's size, if both sides are stated."""
    width, height = whole(about.get("level0_width")), whole(about.get("level0_height"))
    return (width, height) if width and height else None
