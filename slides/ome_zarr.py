"""What the metadata of an OME-Zarr image say: versions 0.4 (Zarr v2) and 0.5 (Zarr v3), https://ngff.openmicroscopy.org.

Everything is checked here, before an array is opened: some codecs of Zarr run code from the file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slides.errors import DamagedSlideError, NotASlideError
from slides.header import UM_PER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SAFE_CODECS = {"bytes", "transpose", "gzip", "zstd", "blosc", "crc32c", "sharding_indexed"}
"""Zarr v3."""
SAFE_COMPRESSORS = {"blosc", "zlib", "gzip", "zstd", "lz4", "bz2", "lzma"}
"""Zarr v2; `pickle` is one that is not."""
MOST_LEVELS = 64
RGB_COLOURS = ("FF0000", "00FF00", "0000FF")


@dataclass(frozen=True, slots=True)
class Multiscale:
    """An image at several scales."""

    paths: tuple[str, ...]
    """Of its arrays in the store, finest first."""
    axes: tuple[str, ...]
    """`t`, `c`, `z`, `y`, `x` in the order of the arrays' dimensions."""
    properties: dict[str, str]
    """OpenSlide's names for vendor and scale."""


def multiscale(fetch: Callable[[str], bytes | None]) -> Multiscale | None:
    """Read the metadata of the first image of a store.

    Args:
        fetch: Gives the content of an object in the store by its key, or None where there is none.

    Returns:
        The image, or None for a store that holds no OME-Zarr image.

    Raises:
        DamagedSlideError: If the metadata contradict themselves.
    """
    group = ""
    attributes = _attributes(fetch, group)
    if "multiscales" not in attributes and attributes.get("bioformats2raw.layout") is not None:
        group = "0/"
        attributes = _attributes(fetch, group)
    images = attributes.get("multiscales")
    if not images:
        return None
    try:
        axes = tuple(str(axis["name"]).lower() for axis in images[0]["axes"])
        datasets = images[0]["datasets"][:MOST_LEVELS]
        paths = tuple(group + _inside(str(dataset["path"])) for dataset in datasets)
        properties = {"openslide.vendor": "ome-zarr", **_scale(images[0], datasets[0], axes)}
        _require_rgb(attributes)
    except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
        msg = "the metadata of the Zarr image are damaged"
        raise DamagedSlideError(msg) from error
    return Multiscale(paths, axes, properties)


def require_safe(fetch: Callable[[str], bytes | None], path: str) -> None:
    """Refuse an array that is not plain 8-bit data in codecs that only unpack.

    Args:
        fetch: Gives the content of an object in the store by its key.
        path: Of the array.

    Raises:
        NotASlideError: If it is anything else.
    """
    third, second = _json(fetch(f"{path}/zarr.json")), _json(fetch(f"{path}/.zarray"))
    if third:
        safe = third.get("data_type") == "uint8" and _names(third.get("codecs")) <= SAFE_CODECS
    else:
        compressor = second.get("compressor")
        packed = compressor is None or (isinstance(compressor, dict) and compressor.get("id") in SAFE_COMPRESSORS)
        safe = second.get("dtype") in {"|u1", "<u1", ">u1", "u1"} and packed and not second.get("filters")
    if not safe:
        msg = "the Zarr image is not 8-bit, or is packed in a way that is not read"
        raise NotASlideError(msg)


def _names(codecs: object) -> set[str]:
    """Names of codecs, those inside shards too; a nameless one is not safe."""
    names: set[str] = set()
    for codec in codecs if isinstance(codecs, list) else [None]:
        settings = codec.get("configuration") if isinstance(codec, dict) else None
        names.add(str(codec.get("name")) if isinstance(codec, dict) else "?")
        for key in ("codecs", "index_codecs"):
            if isinstance(settings, dict) and key in settings:
                names |= _names(settings[key])
    return names


def _attributes(fetch: Callable[[str], bytes | None], group: str) -> dict[str, Any]:
    """The attributes of a group, of either version."""
    third = _json(fetch(f"{group}zarr.json")).get("attributes")
    if isinstance(third, dict):
        ome = third.get("ome")
        return ome if isinstance(ome, dict) else third
    return _json(fetch(f"{group}.zattrs"))


def _json(content: bytes | None) -> dict[str, Any]:
    """A JSON object; anything else is as if it were not there.

    Raises:
        DamagedSlideError: If it is not JSON.
    """
    if content is None:
        return {}
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        msg = "the metadata of the Zarr image are damaged"
        raise DamagedSlideError(msg) from error
    return document if isinstance(document, dict) else {}


def _inside(path: str) -> str:
    """A path below the group.

    Raises:
        ValueError: If it leads out.
    """
    if path.startswith("/") or "\\" in path or not path or {".", ".."} & set(path.split("/")):
        raise ValueError(path)
    return path


def _scale(image: dict[str, Any], finest: dict[str, Any], axes: Sequence[str]) -> dict[str, str]:
    """Micrometres per pixel of the finest array, where axes have a unit of length."""
    factors = dict.fromkeys(axes, 1.0)
    for step in [*finest.get("coordinateTransformations", []), *image.get("coordinateTransformations", [])]:
        if step.get("type") == "scale":
            factors = {axis: factors[axis] * float(f) for axis, f in zip(axes, step["scale"], strict=True)}
    units = {str(axis["name"]).lower(): UM_PER.get(str(axis.get("unit"))) for axis in image["axes"]}
    return {f"openslide.mpp-{axis}": repr(factors[axis] * um) for axis in "xy" if (um := units[axis]) is not None}


def _require_rgb(attributes: dict[str, Any]) -> None:
    """Refuse channels that are said to be other colours than red, green and blue.

    Raises:
        NotASlideError: If they are.
    """
    channels = (attributes.get("omero") or {}).get("channels") or []
    colours = tuple(str(channel.get("color", "")).upper().lstrip("#") for channel in channels)
    if all(colours) and colours and colours != RGB_COLOURS:
        msg = "the channels of the Zarr image are not red, green and blue"
        raise NotASlideError(msg)
