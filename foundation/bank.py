"""A background bank: tiles of reference slides, against which scores of different prompts can be compared.

Raw scores of two prompts have different ranges, whatever is on the slide; their percentiles among the same reference
tiles do not. A prompt may be anything, so the bank keeps the features of its tiles and works the quantiles out when it
is asked. One file of safetensors: `features` float16 [N, D], `slide` int32 [N]; its header names their encoder.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from foundation.embeddings import NOTICE, Embeddings
from foundation.errors import ContractError, EmbeddingsError
from foundation.measure import Measure
from foundation.slide_score import best_of

KIND: Final = "oncoscope-bank"
FORMAT: Final = 1
TILES: Final = 1000
"""Tiles of a slide, evenly over it: the K best of them are, like those of the whole slide, 1 %."""
MOST_BYTES: Final = 4 << 30
"""2,000 slides of 1,000 tiles of 1,024 features: more is an index, not a bank."""
IDENTITY: Final = ("key", "weights_digest", "preprocessing_digest")


@dataclass(frozen=True, slots=True, eq=False)
class Bank:
    """Tiles of reference slides."""

    features: NDArray[np.float16]
    """[N, D]."""
    slide: NDArray[np.int32]
    """Which slide each tile is of [N]."""
    slides: tuple[str, ...]
    """Content hash of each slide."""
    encoder: dict[str, str]
    """Key, weights and preprocessing digest of what made the features."""
    mpp: float
    """Their zoom, um/px."""

    def require_fit(self, embeddings: Embeddings, mpp: float) -> None:
        """Refuse to compare what cannot be compared.

        Args:
            embeddings: Of the slide that is asked.
            mpp: The zoom.

        Raises:
            ContractError: If another encoder made the bank, or tiles of another scale are in it.
        """
        if any(self.encoder[name] != embeddings.encoder.get(name) for name in IDENTITY):
            raise ContractError(
                f"The bank was made by encoder {self.encoder['key'][:80]!r}, or with other weights or preprocessing, "
                "and not by that of the embeddings."
            )
        if abs(mpp / self.mpp - 1) > 0.01:
            raise ContractError(f"The bank holds tiles at {self.mpp:g} um/px, not at {mpp:g}.")


@dataclass(frozen=True, slots=True, eq=False)
class Percentiles:
    """Where a slide and its tiles stand among those of a bank."""

    tiles: NDArray[np.float32]
    """Share of the bank's tiles with a smaller raw value, in percent [N]."""
    slide: float
    """Share of the bank's slides with a smaller raw score, in percent."""
    bank_tiles: int
    bank_slides: int
    """Without the slide itself, where it is in the bank."""
    quantiles: dict[str, float]
    """Raw values of the bank's tiles at 5, 50, 95 and 99 percent."""

    def to_json(self) -> dict[str, Any]:
        """A JSON document.

        Returns:
            The slide's percentile, the bank's size and quantiles.
        """
        slides = {"tiles": self.bank_tiles, "slides": self.bank_slides}
        return {"slide_percentile": self.slide, **slides, "quantiles": self.quantiles}


def make_bank(embeddings: Sequence[Embeddings], mpp: float | None = None, tiles: int = TILES) -> Bank:
    """Take tiles of slides into a bank.

    Args:
        embeddings: One or more, of one encoder.
        mpp: The zoom; the finest of the first if None.
        tiles: Of each slide at most, evenly over it.

    Returns:
        The bank.

    Raises:
        ContractError: If there is none, or they were made by different encoders.
    """
    if not embeddings or tiles < 1:
        raise ContractError("A bank is made of tiles of at least one slide.")
    zoom = embeddings[0].zooms[0] if mpp is None else mpp
    encoder = {name: str(embeddings[0].encoder[name]) for name in IDENTITY}
    parts: dict[str, NDArray[np.float16]] = {}
    for one in embeddings:
        one.require_encoder(encoder["key"], encoder["weights_digest"], encoder["preprocessing_digest"])
        features = one.features(zoom)
        parts[one.slide["content_hash"]] = features[:: max(1, -(-len(features) // tiles))]  # a slide counts once
    slide = np.repeat(np.arange(len(parts), dtype=np.int32), [len(part) for part in parts.values()])
    return Bank(np.concatenate(list(parts.values())), slide, tuple(parts), encoder, zoom)


def write_bank(bank: Bank, path: Path) -> None:
    """Write a bank, whole or not at all.

    Args:
        bank: The bank.
        path: A file; one that stands there is replaced.
    """
    about = {"encoder": bank.encoder, "mpp": bank.mpp, "slides": list(bank.slides)}
    header = {"kind": KIND, "format": str(FORMAT), "notice": NOTICE, "about": json.dumps(about)}
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{uuid4().hex}.bank")
    try:
        save_file({"features": bank.features, "slide": bank.slide}, aside, metadata=header)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def read_bank(path: Path) -> Bank:
    """Read a bank.

    Args:
        path: The file.

    Returns:
        The bank.

    Raises:
        EmbeddingsError: If no whole bank stands there.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise EmbeddingsError("The bank is too large.")
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            features, slide = (np.asarray(file.get_tensor(name)) for name in ("features", "slide"))
        about = json.loads(header["about"])
        encoder = {name: str(about["encoder"][name]) for name in IDENTITY}
        bank = Bank(features, slide, tuple(map(str, about["slides"])), encoder, float(about["mpp"]))
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise EmbeddingsError("No whole background bank stands at this place.") from error
    if header.get("kind") != KIND or header.get("format") != str(FORMAT) or not _is_sound(bank):
        raise EmbeddingsError("The file at this place is no background bank of this version.")
    return bank


def _is_sound(bank: Bank) -> bool:
    shapes = bank.features.ndim == 2 and bank.slide.shape == bank.features.shape[:1] and len(bank.features) > 0
    kinds = bank.features.dtype == np.float16 and bank.slide.dtype == np.int32 and bank.mpp > 0
    return bool(shapes and kinds and bank.slide.min() >= 0 and bank.slide.max() < len(bank.slides))


def percentiles(bank: Bank, measure: Measure, own: Sequence[NDArray[np.float32]], content: str) -> list[Percentiles]:
    """Compare a slide with the bank.

    Args:
        bank: It fits the slide's embeddings.
        measure: What the slide was asked.
        own: Raw values of the slide's tiles, [N] for each thing asked.
        content: Content hash of the slide; its own tiles in the bank are left out.

    Returns:
        The percentiles of each thing asked.

    Raises:
        ContractError: If the bank holds no other slide.
    """
    others = np.array([name != content for name in bank.slides])[bank.slide]
    if not others.any():
        raise ContractError("The bank holds no slide but the one that is asked.")
    slide = bank.slide[others]
    measured = measure(bank.features[others])
    return [_stand(values, reference.raw, slide) for values, reference in zip(own, measured, strict=True)]


def _stand(own: NDArray[np.float32], reference: NDArray[np.float32], slide: NDArray[np.int32]) -> Percentiles:
    ordered = np.sort(reference)
    tiles = np.asarray(100 * np.searchsorted(ordered, own) / len(ordered), np.float32)
    scores = np.array([best_of(reference[slide == one]) for one in np.unique(slide)])
    below = 100 * float((scores < best_of(own)).mean())
    quantiles = {f"{share:g}": float(np.quantile(ordered, share / 100)) for share in (5, 50, 95, 99)}
    return Percentiles(tiles, below, len(ordered), len(scores), quantiles)
