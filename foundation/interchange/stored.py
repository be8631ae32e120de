"""From what a file of others says to an embeddings store that says what is known and what is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from foundation import embeddings as layout
from foundation.contract import breaches_of_contract
from foundation.embeddings import Embeddings
from foundation.errors import BadFeaturesError, ContractError, InterchangeError
from foundation.features import usable
from foundation.interchange.tiles import Found, Stated
from foundation.registry import list_encoders
from slides import Mpp, Region, Size, SlideInfo
from tiling.commit import is_committed, staged
from tiling.fingerprint import fingerprint

UNKNOWN: Final = "unknown"
"""Stands where a digest would: no head and no text encoder takes features of weights that nobody knows."""
SAME_SCALE: Final = 0.01
"""Scales that differ by less are one: a tile has a whole number of level-0 pixels."""
MAX_PX: Final = 65536
MAX_MPP: Final = 1000.0
UNSEEN: Final = "the slide was not seen: its features were imported, and its size and contents are as the file has them"


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What the caller knows; it wins over the file."""

    encoder: str | None = None
    """Key of the encoder that made the features."""
    mpp0: Mpp | None = None
    """Scale of level 0."""
    mpp: float | None = None
    """Scale of the tiles, um/px."""
    px: int | None = None
    """Side of a tile in pixels at that scale."""


@dataclass(frozen=True, slots=True)
class _Scale:
    """How large things are."""

    mpp0: Mpp
    mpp: float
    px: int

    @property
    def extent(self) -> tuple[float, float]:
        """Level-0 pixels that a tile covers."""
        return self.px * self.mpp / self.mpp0.x, self.px * self.mpp / self.mpp0.y


def store(found: Found, source: str, sha256: str, out: Path, options: ImportOptions) -> Embeddings:
    """Keep what was found; a result that is there already is opened.

    Args:
        found: Features and places.
        source: Name of the layout.
        sha256: Of the file, 64 hex digits.
        out: The folder in which `<fingerprint>.embeddings.zarr` appears, whole or not at all.
        options: What the caller knows.

    Returns:
        The embeddings.
    """
    scale = _scale(found.stated, options)
    features = _features(found.features)
    spec = _encoder(options.encoder or found.stated.encoder, features.shape[1])
    breaches = _breaches(spec["key"], scale)
    told = [spec, [scale.mpp0.x, scale.mpp0.y], scale.mpp, scale.px]
    name = fingerprint(kind=layout.KIND, format=layout.FORMAT, imported=source, file=sha256, told=told)
    final = out / f"{name}.embeddings.zarr"
    if not is_committed(final):
        about = {
            "encoder": spec,
            "slide": _slide(found, scale, source, sha256).to_json(),
            "tiles_fingerprint": UNKNOWN,
            "zooms": [_zoom(found, scale)],
            "provenance": {
                "imported": _imported(found, source, sha256),
                "overridden": list(breaches),
            },
        }
        count = len(features)
        with staged(final, kind=layout.KIND, fingerprint=name) as folder:
            layout.write_header(folder, about)
            arrays: dict[str, NDArray[Any]] = {
                "features": features,
                "coords": found.coords,
                "tissue": np.full(count, np.nan, np.float32),
                "parent": np.full(count, -1, np.int64),
            }
            layout.write_zoom(folder, scale.mpp, arrays)
    return Embeddings.open(final)


def _scale(stated: Stated, options: ImportOptions) -> _Scale:
    """How large things are, by the caller or else by the file.

    Raises:
        InterchangeError: If neither says it, or it cannot be.
    """
    mpp0 = options.mpp0 or (Mpp(*stated.mpp0) if stated.mpp0 else None)
    if mpp0 is None:
        raise InterchangeError("The file does not say the slide's scale; give that of level 0 (--mpp0).")
    px = options.px or stated.px
    if not px:
        raise InterchangeError("The file does not say how large its tiles are; give their side in pixels (--tile).")
    mpp = options.mpp or _stated_mpp(stated, mpp0, px)
    if mpp is None:
        raise InterchangeError("The file does not say the scale of its tiles; give it (--mpp).")
    if not (stated.overlap or 0) < px <= MAX_PX or not 0 < mpp <= MAX_MPP:
        raise InterchangeError(f"Tiles of {px} px at {mpp:g} um/px, or of that overlap, are no tiles of a slide.")
    return _Scale(mpp0, mpp, px)


def _stated_mpp(stated: Stated, mpp0: Mpp, px: int) -> float | None:
    """Scale of the tiles; where level-0 pixels tell another one, that is it, for places are in level-0 pixels."""
    if stated.level0_px is None:
        return stated.mpp
    derived = stated.level0_px * mpp0.x / px
    if stated.mpp and abs(derived / stated.mpp - 1) < SAME_SCALE:
        return stated.mpp
    return float(f"{derived:.4g}")


def _features(rows: NDArray[np.floating[Any]]) -> NDArray[np.float16]:
    """Features as they are kept.

    Raises:
        BadFeaturesError: If they say nothing.
    """
    with np.errstate(over="ignore"):  # what is too large for float32 becomes infinite, and that is refused
        kept = usable(rows.astype(np.float32))
    if len(kept) > 1 and (kept == kept[0]).all():
        raise BadFeaturesError("Every tile has the same features, so they say nothing.")
    return kept


def _encoder(key: str | None, width: int) -> dict[str, Any]:
    """What is known of the encoder; its weights are not.

    Raises:
        InterchangeError: If nobody says which it is.
        ContractError: If it gives features of another width.
    """
    if key is None:
        raise InterchangeError("The file does not say which encoder made the features; give it (--encoder).")
    digests = {"weights_digest": UNKNOWN, "preprocessing_digest": UNKNOWN}
    known = {spec.key: spec for spec in list_encoders()}.get(key)
    if known is None:
        return {"key": key, "family": UNKNOWN, "source": "imported", "dim": width, "revision": UNKNOWN, **digests}
    if known.dim != width:
        raise ContractError(f"Encoder {key!r} gives {known.dim} features; the file has {width}.")
    return {**known.to_json(), "source": "imported", "revision": UNKNOWN, **digests}


def _breaches(key: str, scale: _Scale) -> Sequence[str]:
    """What is fed to a known encoder that it is not meant for; it has happened, so it is said, not refused."""
    known = {spec.key: spec for spec in list_encoders()}.get(key)
    return breaches_of_contract(known, {scale.mpp: scale.px}) if known else ()


def _slide(found: Found, scale: _Scale, source: str, sha256: str) -> SlideInfo:
    """A slide that nobody has opened.

    Raises:
        InterchangeError: If a tile begins outside the slide that the file states.
    """
    low, high = found.coords.min(axis=0), found.coords.max(axis=0)
    width, height = (int(edge) for edge in np.maximum(1, np.ceil(high + np.array(scale.extent))))
    if found.stated.size:
        width, height = found.stated.size
        if (low < 0).any() or high[0] >= width or high[1] >= height:
            raise InterchangeError("Tiles lie outside the slide whose size the file states.")
    size = Size(width, height)
    return SlideInfo(
        size=size,
        mpp=scale.mpp0,
        mpp_source="caller",
        format="imported",
        reader=source,
        reader_reason="features were imported",
        levels=(),
        bounds=Region(0, 0, width, height),
        objective_power=None,
        content_hash=sha256,
        warnings=(UNSEEN,),
    )


def _zoom(found: Found, scale: _Scale) -> dict[str, Any]:
    """The header of the zoom."""
    overlap = found.stated.overlap or 0
    extent = [float(side) for side in scale.extent]
    return {"mpp": scale.mpp, "px": scale.px, "overlap": overlap, "tiles": len(found.coords), "extent": extent}


def _imported(found: Found, source: str, sha256: str) -> Mapping[str, Any]:
    """Where the features are from, what the file claims without proof, and what nobody says."""
    unknown = ["weights_digest", "preprocessing_digest", "tissue", "content_hash", "tiles_fingerprint"]
    return {
        "layout": source,
        "file_sha256": sha256,
        "features_dtype": str(found.features.dtype),
        "places_rounded": found.rounded,
        "claimed": dict(found.stated.digests or {}),
        "unknown": unknown + ([] if found.stated.size else ["size"]),
    }
