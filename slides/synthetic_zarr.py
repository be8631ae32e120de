"""Write small drawn OME-Zarr images in any layout of axes and chunks: for tests, and for proofs to mutate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import zarr
from zarr.codecs import BloscCodec

from slides.synthetic import draw

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

WIDTH, HEIGHT = 1500, 1200
CHUNK = {"y": 256, "x": 200, "c": 3, "z": 1, "t": 1}
KINDS = {"c": "channel", "t": "time"}


def write_ome_zarr(
    path: Path,
    *,
    version: Literal["0.4", "0.5"] = "0.5",
    axes: str = "cyx",
    unit: str | None = "micrometer",
    size: float = 0.5,
    shards: bool = False,
    seed: int = 9,
    group: str = "",
) -> Path:
    """Write an image in two scales.

    Args:
        path: The folder to write.
        version: 0.4 is Zarr v2, 0.5 is Zarr v3.
        axes: Order of the dimensions, of `t`, `c`, `z`, `y`, `x`; there are two planes in z.
        unit: Of length, or None.
        size: Of a pixel, in that unit.
        shards: Put four chunks into a file.
        seed: Same arguments, same pixels.
        group: Where in the store.

    Returns:
        `path`.
    """
    image = draw(WIDTH, HEIGHT, 0.5, seed=seed)
    root = zarr.open_group(path / group, mode="w", zarr_format=2 if version == "0.4" else 3)
    for number, factor in enumerate((1, 2)):
        level = image[::factor, ::factor]
        sides = {"y": level.shape[0], "x": level.shape[1], "c": 3, "z": 2, "t": 1}
        array = root.create_array(
            str(number),
            shape=tuple(sides[axis] for axis in axes),
            chunks=tuple(CHUNK[axis] for axis in axes),
            shards=tuple(CHUNK[axis] * (2 if axis in "yx" else 1) for axis in axes) if shards else None,
            dtype="u1",
            compressors="auto" if version == "0.4" else BloscCodec(cname="zstd"),
        )
        first = tuple(0 if axis in "tz" else slice(None) for axis in axes)
        array[first] = level.transpose(["yxc".index(axis) for axis in axes if axis in "yxc"])
    about: Any = {"multiscales": [_multiscale(axes, unit, size)]}
    root.attrs.update(about if version == "0.4" else {"ome": {"version": "0.5", **about}})
    return path


def _multiscale(axes: Sequence[str], unit: str | None, size: float) -> dict[str, Any]:
    """The metadata of the image."""
    units = {"unit": unit} if unit else {}
    listed = [{"name": axis, "type": KINDS.get(axis, "space"), **(units if axis in "yxz" else {})} for axis in axes]
    scales = [[size * factor if axis in "yx" else 1.0 for axis in axes] for factor in (1, 2)]
    datasets = [
        {"path": str(number), "coordinateTransformations": [{"type": "scale", "scale": scale}]}
        for number, scale in enumerate(scales)
    ]
    return {"axes": listed, "datasets": datasets, "name": "CANARY"}
