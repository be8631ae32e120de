"""The tiles of one slide at one scale, in no layout: what is written, what is found, and what a file says of itself."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from foundation.embeddings import NOTICE, Embeddings
from foundation.errors import InterchangeError
from slides import SlideInfo

NOTE: Final = "oncoscope"
"""Name of the attribute that holds what a layout has no place for, as JSON."""
NOTE_CHARS: Final = 65536
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Names of files: nothing that leads to another folder, is hidden, or means something to a shell."""
MOST: Final = 1e9
"""No side of a slide and no scale is larger."""
KEY: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/@+-]{0,79}")
"""What may be the key of an encoder; other text of a file may be about a patient and is not kept."""


CLAIMS: Final = ("weights_digest", "preprocessing_digest")
DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, eq=False)
class Tiles:
    """Tiles to write."""

    name: str
    """Of the files; a pseudonym."""
    info: SlideInfo
    encoder: Mapping[str, Any]
    """As the embeddings hold it."""
    fingerprint: str
    """Of the embeddings."""
    mpp: float
    px: int
    """Side of a tile in pixels at `mpp`."""
    overlap: int
    """Pixels at `mpp` that neighbours share."""
    extent: tuple[float, float]
    """Level-0 pixels that a tile covers, in x and y."""
    features: NDArray[np.float16]
    """[N, D]."""
    coords: NDArray[np.int64]
    """Level-0 x, y of the top left, [N, 2]."""
    tissue: NDArray[np.float32]
    """[N], NaN where it is not known."""

    def note(self) -> str:
        """What the layouts have no place for, as JSON.

        Returns:
            `notice`, the fingerprint of the `embeddings`, `encoder`, `mpp`, `mpp0` [x, y], `px`, `overlap` and `size`.
        """
        mpp0, size = self.info.require_mpp(), self.info.size
        kept = ("key", "revision", "weights_digest", "preprocessing_digest")
        document = {
            "notice": NOTICE,
            "embeddings": self.fingerprint,
            "encoder": {name: self.encoder[name] for name in kept if name in self.encoder},
            "mpp": self.mpp,
            "mpp0": [mpp0.x, mpp0.y],
            "px": self.px,
            "overlap": self.overlap,
            "size": [size.width, size.height],
        }
        return json.dumps(document)


def tiles_of(embeddings: Embeddings, mpp: float | None = None, name: str | None = None) -> Tiles:
    """One zoom of an embeddings store.

    Args:
        embeddings: The store.
        mpp: One of its zooms, um/px; None where it has only one.
        name: A pseudonym for the files; the slide's if None.

    Returns:
        Its tiles.

    Raises:
        InterchangeError: If the zoom is not there, or not named and there are several, there is no tile, or the name is
            no file name.
    """
    zoom = embeddings.zooms[0] if mpp is None and len(embeddings.zooms) == 1 else mpp
    if zoom is None or zoom not in embeddings.zooms:
        have = ", ".join(f"{known:g}" for known in embeddings.zooms)
        raise InterchangeError(f"The embeddings hold the zooms {have} um/px; say which one is wanted (--mpp).")
    info = SlideInfo.from_json(embeddings.slide)
    chosen = info.pseudonym if name is None else name
    if not NAME.fullmatch(chosen):
        raise InterchangeError("A name for files has 1 to 64 letters, digits, dots, dashes and underscores.")
    features = embeddings.features(zoom)
    if not len(features):
        raise InterchangeError("The embeddings have no tile at this zoom.")
    extent = embeddings.extent(zoom)
    px = round(extent[0] * info.require_mpp().x / zoom)
    return Tiles(
        name=chosen,
        info=info,
        encoder=embeddings.encoder,
        fingerprint=embeddings.fingerprint,
        mpp=zoom,
        px=px,
        overlap=px - round(math.sqrt(embeddings.tile_area_mm2(zoom)) * 1000 / zoom),
        extent=extent,
        features=features,
        coords=embeddings.coords(zoom),
        tissue=embeddings.tissue(zoom),
    )


@dataclass(frozen=True, slots=True)
class Stated:
    """What a file says of its tiles; None for what it does not."""

    encoder: str | None = None
    mpp: float | None = None
    mpp0: tuple[float, float] | None = None
    px: int | None = None
    level0_px: float | None = None
    """Side of a tile in level-0 pixels."""
    overlap: int | None = None
    size: tuple[int, int] | None = None
    """Width and height of the slide in level-0 pixels."""
    digests: Mapping[str, str] | None = None
    """Of weights and preprocessing, as claimed."""

    def with_note(self, text: object) -> Stated:
        """Add what our own exports say beside the layout.

        Args:
            text: The attribute `NOTE`; anything that is no such note is passed over.

        Returns:
            The same, with gaps filled and the more exact scale.
        """
        note = _document(text)
        encoder = note.get("encoder")
        encoder = encoder if isinstance(encoder, dict) else {}
        digests = {name: encoder[name] for name in CLAIMS if DIGEST.fullmatch(str(encoder.get(name)))}
        return replace(
            self,
            encoder=self.encoder or encoder_key(encoder.get("key")),
            mpp=positive(note.get("mpp")) or self.mpp,
            mpp0=_pair(note.get("mpp0"), positive) or self.mpp0,
            px=whole(note.get("px")) or self.px,
            overlap=self.overlap if whole(note.get("overlap")) is None else whole(note.get("overlap")),
            size=self.size or _pair(note.get("size"), whole),
            digests=digests or self.digests,
        )


@dataclass(frozen=True, eq=False)
class Found:
    """Tiles that were read."""

    features: NDArray[np.floating[Any]]
    """[N, D], not checked yet."""
    coords: NDArray[np.int64]
    """Level-0 x, y of the top left, [N, 2]."""
    stated: Stated
    rounded: bool = False
    """Whether places were not whole level-0 pixels and are now."""


def positive(value: object) -> float | None:
    """A number of a file.

    Args:
        value: Anything.

    Returns:
        It, if it is finite and more than 0.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < MOST:
        return None
    return float(value)


def whole(value: object) -> int | None:
    """A whole number of a file.

    Args:
        value: Anything.

    Returns:
        It, if it is one and not negative.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < MOST:
        return None
    return int(value) if value == int(value) else None


def encoder_key(value: object) -> str | None:
    """The name of an encoder.

    Args:
        value: Anything.

    Returns:
        It, if it looks like one.
    """
    return value if isinstance(value, str) and KEY.fullmatch(value) and value != "None" else None


def _pair(value: object, kind: Any) -> Any:  # noqa: ANN401 - a pair of what `kind` gives, or None
    """Two numbers."""
    if not isinstance(value, list) or len(value) != 2:
        return None
    first, second = (kind(item) for item in value)
    return (first, second) if first and second else None


def _document(text: object) -> dict[str, Any]:
    """A JSON object; an empty one for anything else."""
    if not isinstance(text, str) or len(text) > NOTE_CHARS:
        return {}
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
