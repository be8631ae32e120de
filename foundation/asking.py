"""Ask a slide: words, classes and examples against the embeddings of its tiles."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foundation.answer import CLOSED_NOTE, EXAMPLES_NOTE, OPEN_NOTE, Answer, ClassChoice, PromptAnswer
from foundation.bank import Bank, Percentiles, percentiles
from foundation.doubts import doubts_of
from foundation.embeddings import Embeddings
from foundation.encoder import TextEncoder
from foundation.errors import ContractError, PromptError
from foundation.examples import prototype
from foundation.measure import Measure, Measured, by_head, by_queries, set_by_head
from foundation.query import lone_queries, require_same_encoder, set_queries
from foundation.question import Question
from foundation.screening import screened
from foundation.slide_score import TopTile, best_of, k_of, spread_out
from foundation.tissue import HEADS, TissueHead

WHOLE_TILES = "The store does not say how much of a tile is tissue, as imported ones do not: areas count whole tiles."


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """One measure of a question, and what is to be said of it."""

    measure: Measure
    note: str
    is_set: bool = False
    shares: bool = False
    """Probabilities are shares of a tile's tissue."""
    about: dict[str, Any] | None = None
    """Of examples or of screening."""


def ask(
    embeddings: Embeddings,
    question: Sequence[str] | Question,
    mpp: float | None = None,
    *,
    encoder: TextEncoder | None = None,
    bank: Bank | None = None,
) -> Answer:
    """Put a question to a slide.

    Args:
        embeddings: Of the slide.
        question: Prompts, or a question with classes or examples. Without a text side words are those of the closed
            vocabulary.
        mpp: The zoom; the finest if None.
        encoder: The image-text encoder that made the embeddings; None for one with a tissue head, or where only
            examples ask.
        bank: Tiles of reference slides to compare with.

    Returns:
        For each thing asked a value of every tile, a score of the slide, areas and the best tiles.
    """
    asked = question if isinstance(question, Question) else Question(tuple(question))
    zoom = embeddings.zooms[0] if mpp is None else mpp
    if bank is not None:
        bank.require_fit(embeddings, zoom)
    words = _words(embeddings, zoom, asked, encoder) if asked.has_words else []
    examples = [_examples(embeddings, zoom, asked)] if asked.like else []
    doubts = doubts_of(asked.words()) if encoder is not None else ()
    slide = _Slide.of(embeddings, zoom, bank)
    return _answer(slide, [*words, *examples], (*doubts, *slide.doubts()))


def _words(embeddings: Embeddings, mpp: float, asked: Question, encoder: TextEncoder | None) -> list[_Part]:
    """By the text tower of the pair, or by the tissue head that reads these features.

    Raises:
        ContractError: If the embeddings were made by another encoder, or by one without a text side.
        PromptError: If an option means nothing in the closed vocabulary.
    """
    if encoder is not None:
        require_same_encoder(embeddings, encoder)
        return _by_text(embeddings, mpp, asked, encoder)
    if embeddings.encoder["key"] not in HEADS:
        raise ContractError(
            f"Asking these embeddings needs the text side of {embeddings.encoder['key']!r}, their encoder; the closed "
            f"vocabulary is for those of {' and '.join(map(repr, HEADS))}."
        )
    if asked.unlike or asked.screen:
        raise PromptError(
            "The closed vocabulary knows no unlike-prompts and no screening: it weighs all tissues at once."
        )
    head = TissueHead.fitting(embeddings, mpp)
    parts = [_Part(by_head(head, asked.prompts), CLOSED_NOTE, shares=True)] if asked.prompts else []
    if asked.classes is not None:
        parts.append(_Part(set_by_head(head, asked.classes), CLOSED_NOTE, is_set=True, shares=True))
    return parts


def _by_text(embeddings: Embeddings, mpp: float, asked: Question, encoder: TextEncoder) -> list[_Part]:
    parts = []
    if asked.prompts:
        queries = lone_queries(encoder, asked.prompts, asked.unlike)
        parts.append(_Part(by_queries(queries, encoder.logit_scale), OPEN_NOTE))
    if asked.classes is not None:
        chosen = screened(encoder, asked.classes, embeddings.features(mpp)) if asked.screen else None
        queries = set_queries(encoder, asked.classes, chosen.classes if chosen else None)
        about = {"screening": chosen.to_json()} if chosen else None
        parts.append(_Part(by_queries(queries, encoder.logit_scale), OPEN_NOTE, is_set=True, about=about))
    return parts


def _examples(embeddings: Embeddings, mpp: float, asked: Question) -> _Part:
    made = prototype(embeddings, mpp, asked.like, asked.not_like)
    return _Part(by_queries([made.query], made.logit_scale), EXAMPLES_NOTE, about={"examples": made.to_json()})


@dataclass(frozen=True, slots=True, eq=False)
class _Slide:
    """What is needed of a slide to sum values of tiles up."""

    embeddings: Embeddings
    mpp: float
    bank: Bank | None
    features: NDArray[np.float16]
    coords: NDArray[np.int64]
    extent: tuple[float, float]
    tissue_mm2: NDArray[np.float64]

    @classmethod
    def of(cls, embeddings: Embeddings, mpp: float, bank: Bank | None) -> _Slide:
        """Read it.

        Returns:
            The slide.
        """
        tissue = np.nan_to_num(embeddings.tissue(mpp).astype(np.float64), nan=1.0) * embeddings.tile_area_mm2(mpp)
        features, coords = embeddings.features(mpp), embeddings.coords(mpp)
        return cls(embeddings, mpp, bank, features, coords, embeddings.extent(mpp), tissue)

    def doubts(self) -> tuple[str, ...]:
        """What the store does not say.

        Returns:
            A sentence, or nothing.
        """
        unknown = np.isnan(self.embeddings.tissue(self.mpp)).any()
        return (WHOLE_TILES,) if unknown else ()


def _answer(slide: _Slide, parts: Sequence[_Part], doubts: tuple[str, ...]) -> Answer:
    prompts: list[PromptAnswer] = []
    choice: ClassChoice | None = None
    about: dict[str, Any] = {}
    for part in parts:
        found = _prompts(slide, part)
        prompts.extend(found)
        about |= part.about or {}
        choice = _choice(found) if part.is_set else choice
    return Answer(
        tuple(prompts),
        slide.mpp,
        slide.coords,
        slide.extent,
        k_of(len(slide.coords)),
        closed_vocabulary=any(part.shares for part in parts),
        note=" ".join(dict.fromkeys(part.note for part in parts)),
        provenance=_provenance(slide, head=any(part.shares for part in parts)),
        warnings=doubts,
        choice=choice,
        screening=about.get("screening"),
        examples=about.get("examples"),
    )


def _prompts(slide: _Slide, part: _Part) -> list[PromptAnswer]:
    measured = part.measure(slide.features)
    stands: Sequence[Percentiles | None] = [None] * len(measured)
    if slide.bank is not None:
        content = slide.embeddings.slide["content_hash"]
        stands = percentiles(slide.bank, part.measure, [one.raw for one in measured], content)
    return [_prompt(slide, one, stand, shares=part.shares) for one, stand in zip(measured, stands, strict=True)]


def _prompt(slide: _Slide, one: Measured, stand: Percentiles | None, *, shares: bool) -> PromptAnswer:
    return PromptAnswer(
        prompt=one.name,
        meaning=one.meaning,
        raw=one.raw,
        probability=one.probability,
        score=best_of(one.probability),
        raw_score=best_of(one.raw),
        share=float(one.wins.mean()) if len(one.wins) else 0.0,
        area_mm2=float(slide.tissue_mm2[one.wins].sum()),
        share_area_mm2=float((one.probability * slide.tissue_mm2).sum()) if shares else None,
        top=_top(slide, one),
        background=one.background,
        against_bank=stand,
    )


def _top(slide: _Slide, one: Measured) -> tuple[TopTile, ...]:
    coords, extent = slide.coords, slide.extent
    return tuple(
        TopTile(i, int(coords[i, 0]), int(coords[i, 1]), *extent, float(one.probability[i]), float(one.raw[i]))
        for i in spread_out(one.probability, slide.features, coords, extent)
    )


def _choice(classes: Sequence[PromptAnswer]) -> ClassChoice:
    """Which class the slide is, background left out."""
    sought = [one for one in classes if not one.background]
    won = sum(one.share for one in sought)
    shares = {one.prompt: one.share / won for one in sought} if won else {}
    best = max(sought, key=lambda one: one.raw_score).prompt
    return ClassChoice(best, max(shares, key=lambda name: shares[name]) if won else None, shares)


def _provenance(slide: _Slide, *, head: bool) -> dict[str, Any]:
    made, encoder = slide.embeddings, slide.embeddings.encoder
    return {
        "slide_content_hash": made.slide["content_hash"],
        "tiles_fingerprint": made.tiles_fingerprint,
        "embeddings_fingerprint": made.fingerprint,
        "encoder": {name: encoder[name] for name in ("key", "weights_digest", "preprocessing_digest")},
        "tissue_head_digest": TissueHead.fitting(made, slide.mpp).weights_digest if head else None,
        "bank_digest": hashlib.sha256(slide.bank.features.tobytes()).hexdigest() if slide.bank else None,
    }
