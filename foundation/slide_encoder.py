"""Slide encoders: one vector for a slide from the features of its tiles, and only from features they were made for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from foundation.access import Access, chosen
from foundation.embeddings import Embeddings
from foundation.errors import BadFeaturesError, ContractError, UnknownEncoderError, UnsupportedEncoderError
from foundation.licence import require_allowed
from foundation.readiness import obstacle
from foundation.registry import list_encoders, list_slide_encoders, nearest
from foundation.slide_spec import SlideEncoderSpec

Rows = NDArray[np.floating[Any]]
POOL: Final = "pool"
SLIDE_FAMILIES: Final = frozenset({POOL})
"""Families of slide encoders that there is a loader for."""
_SAME_SCALE: Final = 0.01
"""Scales that differ by less are one: readers round."""


@runtime_checkable
class SlideEncoder(Protocol):
    """Turns the features of the tiles of a slide into one vector. The same features give the same bits."""

    @property
    def spec(self) -> SlideEncoderSpec:
        """What it is and which features it demands."""

    def encode(self, features: Rows, coords_um: Rows, tile_um: float) -> NDArray[np.float32]:
        """Encode a slide.

        Args:
            features: Of its tiles, [N, D].
            coords_um: Their top left corners in micrometres, x before y, [N, 2].
            tile_um: Side of a tile in micrometres.

        Returns:
            Its vector.
        """


@dataclass(frozen=True, slots=True)
class PooledSlides:
    """A baseline without weights: what a slide encoder must beat to be worth its weights.

    Args:
        spec: What it is.
        pool: Features [N, D] in float64 -> vector.
    """

    spec: SlideEncoderSpec
    pool: Callable[[NDArray[np.float64]], NDArray[np.float64]]

    def encode(self, features: Rows, coords_um: Rows, tile_um: float) -> NDArray[np.float32]:
        """Encode a slide.

        Args:
            features: Of its tiles, [N, D].
            coords_um: [N, 2]; the places do not matter here.
            tile_um: Side of a tile in micrometres; it does not matter here.

        Returns:
            Its vector, [D] or [2 D].
        """
        rows = _usable(features, coords_um, tile_um)
        return np.asarray(self.pool(rows), np.float32)


def _usable(features: Rows, coords_um: Rows, tile_um: float) -> NDArray[np.float64]:
    """Features as numbers to calculate with.

    Raises:
        BadFeaturesError: If there are none, or one is no number.
        ContractError: If places and features do not belong together.
    """
    rows = np.asarray(features, np.float64)
    if rows.ndim != 2 or np.shape(coords_um) != (len(rows), 2) or not tile_um > 0:
        raise ContractError("A slide encoder takes features [N, D], places [N, 2] and the side of a tile.")
    if rows.size == 0 or not np.isfinite(rows).all():
        raise BadFeaturesError("The slide has no tiles with features, or features that are not finite numbers.")
    return rows


def _mean_and_spread(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([rows.mean(axis=0), rows.std(axis=0)])


def _mean_and_largest(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([rows.mean(axis=0), rows.max(axis=0)])


_POOLS: Final[Mapping[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]]] = {
    "mean": lambda rows: rows.mean(axis=0),
    "max": lambda rows: rows.max(axis=0),
    "meanmax": _mean_and_largest,
    "meanstd": _mean_and_spread,
}


def load_slide_encoder(key: str, access: Access | None = None) -> SlideEncoder:
    """Load a slide encoder.

    Args:
        key: A name of `list_slide_encoders`.
        access: What it is for; None for what the process was configured with.

    Returns:
        The slide encoder.

    Raises:
        UnknownEncoderError: If nothing has that name.
        UnsupportedEncoderError: If it cannot run here.
    """
    rows = {spec.key: spec for spec in list_slide_encoders()}
    if key not in rows:
        raise UnknownEncoderError(f"There is no slide encoder named {key[:80]!r}; {nearest(key, rows)}.")
    spec = rows[key]
    require_allowed(spec, (access or chosen()).policy)
    lacks = obstacle(spec, SLIDE_FAMILIES)
    if lacks is not None:
        raise UnsupportedEncoderError(lacks.detail)
    return PooledSlides(spec, _POOLS[key])


def encode_slide(encoder: SlideEncoder, embeddings: Embeddings, mpp: float) -> NDArray[np.float32]:
    """Turn the embeddings of a slide into one vector.

    Args:
        encoder: What to run.
        embeddings: Of the slide.
        mpp: Which of their scales it is fed.

    Returns:
        Its vector.
    """
    require_fit(encoder.spec, embeddings, mpp)
    mpp0 = np.array(embeddings.slide["mpp"], np.float64)
    features = embeddings.features(mpp)[:, : encoder.spec.tile_columns or None]
    return encoder.encode(features, embeddings.coords(mpp) * mpp0, _tile_px(embeddings, mpp) * mpp)


def _tile_px(embeddings: Embeddings, mpp: float) -> int:
    """Side of a tile in pixels at its scale."""
    return round(embeddings.extent(mpp)[0] * float(embeddings.slide["mpp"][0]) / mpp)


def require_fit(spec: SlideEncoderSpec, embeddings: Embeddings, mpp: float) -> None:
    """Refuse features that a slide encoder was not made for.

    Args:
        spec: The slide encoder's.
        embeddings: Of a slide.
        mpp: Which of their scales it is to be fed.

    Raises:
        ContractError: If they come from another encoder, other weights or another preprocessing, or from tiles of
            another size or scale.
    """
    wrong = [*_of_encoder(spec, embeddings.encoder), *_of_tiles(spec, embeddings, mpp)]
    if wrong:
        raise ContractError(f"Slide encoder {spec.key!r} was not made for these features: {'; '.join(wrong)}.")


def _of_encoder(spec: SlideEncoderSpec, encoder: Mapping[str, Any]) -> list[str]:
    """What is wrong about the encoder that the features come from."""
    if not spec.tile_encoders:
        return []
    key = encoder["key"]
    row = next((row for row in list_encoders() if row.key == key and key in spec.tile_encoders), None)
    if row is None:
        return [f"it takes those of {' or '.join(spec.tile_encoders)}, not of {key}"]
    made = {
        "other weights": (row.weights_sha256, encoder["weights_digest"]),
        "another preprocessing": (row.preprocessing_digest, encoder["preprocessing_digest"]),
        "another pooling": (row.pooling, encoder.get("pooling", row.pooling)),
    }
    wrong = [f"{key} made them with {what}" for what, (known, found) in made.items() if known not in {None, found}]
    for what, demanded in (("dim", spec.tile_dim or row.dim), ("px", spec.px or row.px)):
        if demanded != encoder[what]:
            wrong.append(f"the {what} of its tile encoder is {demanded}, not {encoder[what]}")
    return wrong


def _of_tiles(spec: SlideEncoderSpec, embeddings: Embeddings, mpp: float) -> list[str]:
    """What is wrong about the tiles that the features come from."""
    wrong = []
    if spec.mpp and not any(abs(mpp / meant - 1) < _SAME_SCALE for meant in spec.mpp):
        wrong.append(f"it takes tiles at {', '.join(f'{meant:g}' for meant in spec.mpp)} um/px, not {mpp:g}")
    px = _tile_px(embeddings, mpp)
    if spec.tile_px and px != spec.tile_px:
        wrong.append(f"it takes tiles of {spec.tile_px} px, not {px}")
    return wrong
