"""Where a score comes from: the chain of fingerprints from pixels to score, and the software that made it."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from biomarkers.card import Biomarker
from biomarkers.reading import tissue_digest
from foundation import Embeddings, list_encoders
from slides import SlideInfo
from tiling import fingerprint
from tiling.blueprint import stage_fingerprint
from tiling.fingerprint import software
from tiling.shard import Keep

FORMAT: Final = 2
"""Raised when the same slide and card would give another result, so that old results are not reused: 2 since
`tiles.geojson` counts from the slide's bounds."""
KEEP: Final[Keep] = "no"
"""Scoring keeps no pixels: they are cut again where they are shown."""
DISTRIBUTIONS: Final = ("oncoscope", "numpy", "torch", "timm", "openslide-bin", "opencv-python-headless", "zarr")


def request_fingerprint(info: SlideInfo, card: Biomarker, slide_id: str | None = None) -> str:
    """Name what is asked for, without computing it: the tiles, the card, encoder and heads.

    Args:
        info: The slide; its scale must be known.
        card: The biomarker.
        slide_id: The pseudonym that will stand in the result, if it is not made from the content.

    Returns:
        64 hex digits.
    """
    encoder = next((spec.recipe() for spec in list_encoders() if spec.key == card.encoder), card.encoder)
    return fingerprint(
        kind="oncoscope-request",
        format=FORMAT,
        tiles=stage_fingerprint(info, card.specs, keep=KEEP),
        mpp_source=info.mpp_source,
        card=card.digest(),
        encoder=encoder,
        tissue=tissue_digest(card.encoder),
        id=slide_id,
    )


def chain(info: SlideInfo, card: Biomarker, embeddings: Embeddings, head: Mapping[str, object]) -> dict[str, object]:
    """The chain from the slide's pixels to the score; each link is made of the one before it.

    Args:
        info: The slide.
        card: The biomarker.
        embeddings: Of the slide.
        head: Name and digest of the head.

    Returns:
        `slide`, `tiles`, `encoder`, `embeddings`, `head`, `card`, `score`, and `created` and `versions`, which are no
        part of any fingerprint.
    """
    digest = card.digest()
    parts = {"embeddings": embeddings.fingerprint, "head": head["digest"], "card": digest}
    return {
        "slide": info.content_hash,
        "tiles": embeddings.tiles_fingerprint,
        "encoder": {key: embeddings.encoder[key] for key in ("key", "weights_digest", "preprocessing_digest")},
        **parts,
        "head": dict(head),
        "score": fingerprint(kind="oncoscope-score", format=FORMAT, **parts),
        "created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Which software makes a result.

    Returns:
        Name of a distribution, and python -> version; `source` for one that runs without being installed.
    """
    return {"python": platform.python_version(), **{name: software(name) for name in DISTRIBUTIONS}}
