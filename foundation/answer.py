"""Ask a slide: prompts against the embeddings of its tiles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foundation.embeddings import NOTICE, Embeddings
from foundation.encoder import TextEncoder
from foundation.errors import ContractError
from foundation.prompts import Contrast, checked, contrast_set, tissue_of
from foundation.tissue import TissueHead, shares_of

LEAST_K, SHARE_K = 10, 0.01
"""A slide's score is the mean of its K best tiles, K = max(10, 1 % of the tiles): fixed before any slide was seen."""
TOP = 10
"""Tiles to show for a prompt."""
CLOSED_NOTE = (
    "Closed vocabulary: each prompt is one of twelve breast tissues by name or synonym; nothing else is understood. "
    "A probability is the share of the tile's tissue that the built-in tissue head estimates."
)
OPEN_NOTE = (
    "Zero-shot: a probability weighs the prompt against a fixed contrast set by the encoder's own temperature. It is "
    "not calibrated, and negation and numbers are not understood."
)


@dataclass(frozen=True, slots=True)
class TopTile:
    """One of the best tiles for a prompt; no two overlap."""

    index: int
    """Place in the arrays of the answer."""
    x: int
    """Level-0 pixels, left."""
    y: int
    """Level-0 pixels, top."""
    width: float
    """Level-0 pixels."""
    height: float
    """Level-0 pixels."""
    probability: float
    raw: float


@dataclass(frozen=True, slots=True)
class PromptAnswer:
    """What a slide answers to one prompt."""

    prompt: str
    meaning: str
    """The tissue the prompt means in the closed vocabulary; otherwise the prompt itself."""
    raw: NDArray[np.float32]
    """Cosine [N], or the tissue head's output before softmax in the closed vocabulary."""
    probability: NDArray[np.float32]
    """Probability [N] against the contrast set."""
    score: float
    """Mean of the K largest probabilities."""
    raw_score: float
    """Mean of the K largest raw values (MI-Zero, Lu et al., CVPR 2023, arXiv:2306.07831)."""
    area_mm2: float
    """Tissue in tiles where the prompt is more probable than anything it is weighed against."""
    share_area_mm2: float | None
    """Tissue weighed with the probability, where that is a share of the tile (closed vocabulary)."""
    top: tuple[TopTile, ...]
    """The most probable first."""

    def to_json(self) -> dict[str, Any]:
        """A JSON document.

        Returns:
            The fields by name, without the values of every tile.
        """
        fields = ("prompt", "meaning", "score", "raw_score", "area_mm2", "share_area_mm2")
        document: dict[str, Any] = {name: getattr(self, name) for name in fields}
        names = TopTile.__slots__
        document["top"] = [{name: getattr(tile, name) for name in names} for tile in self.top]
        return document


@dataclass(frozen=True, slots=True)
class Answer:
    """What a slide answers to prompts."""

    prompts: tuple[PromptAnswer, ...]
    mpp: float
    """The zoom asked, um/px."""
    coords: NDArray[np.int64]
    """Top left of each tile [N, 2], level-0 pixels."""
    extent: tuple[float, float]
    """Width and height of a tile in level-0 pixels."""
    k: int
    """Tiles in a slide's score."""
    closed_vocabulary: bool
    note: str
    provenance: dict[str, Any]
    """Fingerprints and digests of everything the answer follows from."""
    notice: str = NOTICE

    def to_json(self) -> dict[str, Any]:
        """A JSON document.

        Returns:
            The fields by name; `tiles` is their number.
        """
        fields = ("mpp", "k", "closed_vocabulary", "note", "provenance", "notice")
        document: dict[str, Any] = {name: getattr(self, name) for name in fields}
        document["prompts"] = [prompt.to_json() for prompt in self.prompts]
        document["tiles"] = len(self.coords)
        return document


def ask(
    embeddings: Embeddings, prompts: Sequence[str], mpp: float | None = None, *, encoder: TextEncoder | None = None
) -> Answer:
    """Put prompts to a slide.

    Args:
        embeddings: Of the slide.
        prompts: One or more. With the built-in encoder they are words of the closed vocabulary.
        mpp: The zoom; the finest if None.
        encoder: The image-text encoder that made the embeddings; None for the built-in one.

    Returns:
        For each prompt a value of every tile, a score of the slide, areas and the best tiles.

    Raises:
        ContractError: If the embeddings were made by another encoder, or by one without a text side.
    """
    words = checked(prompts)
    zoom = embeddings.zooms[0] if mpp is None else mpp
    if encoder is not None:
        return _answer(embeddings, zoom, _against_contrast(embeddings, words, zoom, encoder), note=OPEN_NOTE)
    head = TissueHead.load()
    if embeddings.encoder["family"] != "builtin":
        raise ContractError(
            f"Asking these embeddings needs the text side of {embeddings.encoder['key']!r}, their encoder."
        )
    head.require_fit(embeddings, zoom)
    return _answer(embeddings, zoom, _by_head(embeddings, words, zoom, head), note=CLOSED_NOTE, head=head)


@dataclass(frozen=True, slots=True)
class _Scored:
    """A prompt's values before they are summed up."""

    prompt: str
    meaning: str
    raw: NDArray[np.float32]
    probability: NDArray[np.float32]
    wins: NDArray[np.bool_]


def _by_head(embeddings: Embeddings, words: Sequence[str], mpp: float, head: TissueHead) -> list[_Scored]:
    """By the tissue head: the contrast set of a class is the other eleven."""
    meanings = [tissue_of(word) for word in words]
    logits = head.logits(embeddings.features(mpp))
    shares = shares_of(logits)
    best = shares.argmax(axis=1)
    at = [head.names.index(meaning) for meaning in meanings]
    return [
        _Scored(word, meaning, logits[:, k], shares[:, k], best == k)
        for word, meaning, k in zip(words, meanings, at, strict=True)
    ]


def _against_contrast(embeddings: Embeddings, words: Sequence[str], mpp: float, encoder: TextEncoder) -> list[_Scored]:
    # Raises ContractError where image and text side do not belong together.
    require_same_encoder(embeddings, encoder)
    contrast = contrast_set()
    features = embeddings.features(mpp).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    others = features @ text_features(encoder, contrast.contrast, contrast).T
    found = []
    for word, raw in zip(words, (features @ text_features(encoder, words, contrast).T).T, strict=True):
        same = [name.casefold() == word.casefold() for name in contrast.contrast]
        rivals = others[:, ~np.array(same)]
        odds = np.exp(encoder.logit_scale * (rivals.astype(np.float64) - raw[:, None])).sum(axis=1)
        wins = raw > rivals.max(axis=1)
        found.append(_Scored(word, word, np.asarray(raw, np.float32), np.asarray(1 / (1 + odds), np.float32), wins))
    return found


def require_same_encoder(embeddings: Embeddings, encoder: TextEncoder) -> None:
    """Refuse a text side that does not belong to the features.

    Args:
        embeddings: Of a slide.
        encoder: The image-text pair.

    Raises:
        ContractError: If another encoder, or the same with other weights or preprocessing, made the features.
    """
    if not isinstance(encoder, TextEncoder):
        raise ContractError("This encoder has no text side, so it cannot be asked.")
    embeddings.require_encoder(encoder.spec.key, encoder.weights_digest, encoder.preprocessing_digest)


def text_features(encoder: TextEncoder, words: Sequence[str], contrast: Contrast) -> NDArray[np.float32]:
    """Each phrase as the mean over its templates (the prompt ensemble of CLIP, Radford et al., arXiv:2103.00020).

    Args:
        encoder: The text side.
        words: T phrases.
        contrast: Its templates are used.

    Returns:
        Features [T, dim] of length 1.
    """
    texts = [template.replace("{}", word) for word in words for template in contrast.templates]
    parts = encoder.encode_text(texts).reshape(len(words), len(contrast.templates), -1)
    mean = parts.mean(axis=1)
    return np.asarray(mean / np.linalg.norm(mean, axis=1, keepdims=True), np.float32)


def _answer(
    embeddings: Embeddings, mpp: float, scored: Sequence[_Scored], *, note: str, head: TissueHead | None = None
) -> Answer:
    coords, extent = embeddings.coords(mpp), embeddings.extent(mpp)
    k = min(len(coords), max(LEAST_K, math.ceil(SHARE_K * len(coords))))
    tissue_mm2 = embeddings.tissue(mpp).astype(np.float64) * embeddings.tile_area_mm2(mpp)
    answers = tuple(
        PromptAnswer(
            prompt=one.prompt,
            meaning=one.meaning,
            raw=one.raw,
            probability=one.probability,
            score=_mean_of_best(one.probability, k),
            raw_score=_mean_of_best(one.raw, k),
            area_mm2=float(tissue_mm2[one.wins].sum()),
            share_area_mm2=float((one.probability * tissue_mm2).sum()) if head else None,
            top=_top(one, coords, extent),
        )
        for one in scored
    )
    provenance = {
        "slide_content_hash": embeddings.slide["content_hash"],
        "tiles_fingerprint": embeddings.tiles_fingerprint,
        "embeddings_fingerprint": embeddings.fingerprint,
        "encoder": {name: embeddings.encoder[name] for name in ("key", "weights_digest", "preprocessing_digest")},
        "tissue_head_digest": head.weights_digest if head else None,
    }
    return Answer(answers, mpp, coords, extent, k, head is not None, note, provenance)


def _mean_of_best(values: NDArray[np.float32], k: int) -> float:
    return float(np.sort(values)[-k:].mean(dtype=np.float64)) if k else 0.0


def _top(one: _Scored, coords: NDArray[np.int64], extent: tuple[float, float]) -> tuple[TopTile, ...]:
    """The most probable tiles, none over another; of equals the first in the slide."""
    kept: list[int] = []
    for index in np.argsort(-one.probability, kind="stable"):
        apart = np.abs(coords[kept] - coords[index]) >= np.floor(extent)
        if apart.any(axis=1).all():
            kept.append(int(index))
        if len(kept) == TOP:
            break
    return tuple(
        TopTile(i, int(coords[i, 0]), int(coords[i, 1]), *extent, float(one.probability[i]), float(one.raw[i]))
        for i in kept
    )
