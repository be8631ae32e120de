"""Ask a slide with words, from the slide or any of its stores to an answer with heat maps: `answer.json` comes last."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from api.answer_files import background, numbers_of, scale_of, write_answer
from api.errors import BadRequestError
from api.stores import kind_of, open_tiles
from biomarkers.export.geojson import TileLayer
from foundation import Answer, Bank, Embeddings, Encoder, Question, ask, embed, list_encoders, load_encoder
from foundation.embeddings import KIND as EMBEDDINGS
from foundation.prompts import tissue_of
from foundation.query import text_side
from foundation.registry import DEFAULT_ENCODER
from foundation.tissue import HEADS
from slides import Address, SlideInfo
from tiling import Pool, TileGrid, TileSpec, tile

ZOOM: Final = 0.5
"""Scale in um/px at which a slide is asked: cells and their surroundings, and what `tissue-composition` uses too."""
Progress = Callable[[int, int], None]


def require_known(prompts: Sequence[str]) -> None:
    """Refuse prompts outside the closed vocabulary; a `PromptError` says which.

    Args:
        prompts: What was asked.
    """
    require_words_known(Question(tuple(prompts)))


def require_words_known(question: Question) -> None:
    """The same for a whole question, before anything is loaded.

    Args:
        question: What was asked.
    """
    for word in question.words():
        tissue_of(word)


@dataclass(frozen=True, slots=True)
class Means:
    """What a slide is asked with."""

    encoder: Encoder | None = None
    """None for the default one."""
    mpp: float | None = None
    """Scale of the tiles in um/px; None for what suits encoder and store."""
    bank: Bank | None = None
    """Reference slides to compare with."""

    @property
    def is_closed(self) -> bool:
        """Whether words are those of the closed vocabulary."""
        return self.encoder is None or self.encoder.spec.key in HEADS


@dataclass(frozen=True, slots=True)
class Told:
    """Who is told how far the work is; each is called with how many are done and how many there are."""

    embedded: Progress | None = None
    cut: Progress | None = None


def ask_slide(
    where: Address | Path,
    question: Sequence[str] | Question,
    out: Path,
    pool: Pool | None = None,
    *,
    means: Means | None = None,
    stages: Path | None = None,
    progress: Progress | None = None,
    tiled: Progress | None = None,
) -> dict[str, Any]:
    """Put a question to a slide and draw where its answers are.

    Args:
        where: A slide, or the path of a tile or embeddings store.
        question: Prompts, or a question with classes or examples.
        out: Folder of the answer.
        pool: Where tiles are cut; threads of this process where None.
        means: What the slide is asked with; None for the default encoder.
        stages: Folder of reusable tiles and embeddings; `out/stages` where None.
        progress: Called with tiles embedded and tiles in all.
        tiled: Called with tiles cut and tiles in all, before.

    Returns:
        What `answer.json` says: the answer, `slide`, `seconds`, and in each prompt the names of its files.
    """
    begin = time.perf_counter()
    means = means or Means()
    asked = question if isinstance(question, Question) else Question(tuple(question))
    if asked.has_words and means.is_closed:
        require_words_known(asked)
    text = text_side(means.encoder) if asked.has_words and means.encoder and not means.is_closed else None
    embeddings = _embeddings(where, stages or out / "stages", pool, means, Told(progress, tiled))
    answer = ask(embeddings, asked, means.mpp, encoder=text, bank=means.bank)
    document = _document(answer, embeddings)
    document["seconds"] = round(time.perf_counter() - begin, 3)
    info, digest = SlideInfo.from_json(embeddings.slide), answer.provenance["embeddings_fingerprint"]
    grid = grid_of(embeddings, answer.mpp)
    layers = [TileLayer(info, grid, digest + prompt.prompt, numbers_of(prompt)) for prompt in answer.prompts]
    write_answer(out, document, answer, layers, background(where, embeddings))
    return document


def _document(answer: Answer, embeddings: Embeddings) -> dict[str, Any]:
    """What `answer.json` says."""
    document = answer.to_json() | {"slide": _slide(embeddings)}
    for number, (prompt, found) in enumerate(zip(document["prompts"], answer.prompts, strict=True), start=1):
        prompt["files"] = {"heatmap_png": f"prompt-{number}.png", "tiles_geojson": f"prompt-{number}.geojson"}
        prompt["heatmap_scale"] = [scale_of(found).low, scale_of(found).high]
    return document


def grid_of(embeddings: Embeddings, mpp: float) -> TileGrid:
    """The grid on which the tiles of an embeddings store lie.

    Args:
        embeddings: The store.
        mpp: One of its zooms.

    Returns:
        The grid, tile by tile in the order of the store.

    Raises:
        BadRequestError: If the tiles overlap.
    """
    info = SlideInfo.from_json(embeddings.slide)
    mpp0 = info.require_mpp()
    spec = TileSpec(mpp=mpp, px=round(embeddings.extent(mpp)[0] * mpp0.x / mpp))
    coords, origin = embeddings.coords(mpp), (info.bounds.x, info.bounds.y)
    step = np.array([spec.px * mpp / mpp0.x, spec.px * mpp / mpp0.y])
    cells = np.rint((coords - np.array(origin)) / step).astype(np.int32)[:, ::-1]
    shape = tuple(int(count) + 1 for count in cells.max(axis=0, initial=0))
    tissue, parent = embeddings.tissue(mpp), embeddings.parent(mpp)
    grid = TileGrid(spec, mpp0, origin, (shape[0], shape[1]), cells, tissue, parent)
    if not np.array_equal(grid.coords, coords):
        raise BadRequestError("the tiles of this store overlap and cannot be drawn as one map")
    return grid


def _embeddings(where: Address | Path, stages: Path, pool: Pool | None, means: Means, told: Told) -> Embeddings:
    """Open, or make, what is asked."""
    if isinstance(where, Path) and kind_of(where) == EMBEDDINGS:
        return Embeddings.open(where)
    if isinstance(where, Path):
        store = open_tiles(where)
        encoder = means.encoder or _encoder(store.grids[0].spec.px)
        return embed(store, encoder, stages, zooms=[_zoom_of(means, store.zooms)], progress=told.embedded)
    encoder, zoom = means.encoder or _encoder(), _zoom_of(means, ())
    store = tile(where, [TileSpec(mpp=zoom, px=encoder.spec.tile_px)], stages, pool=pool, keep="no", progress=told.cut)
    return embed(store, encoder, stages, zooms=[zoom], address=where, progress=told.embedded)


def _zoom_of(means: Means, there: Sequence[float]) -> float:
    """The scale to ask at: what is wished, else what suits the encoder and is there.

    Raises:
        BadRequestError: If neither the encoder nor the store has a say.
    """
    if means.mpp is not None:
        return means.mpp
    meant = (ZOOM,) if means.encoder is None or means.is_closed else means.encoder.spec.mpp
    fitting = [zoom for zoom in meant if not there or zoom in there] or list(there)
    if not fitting:
        raise BadRequestError("this encoder states no scale; give --mpp")
    return fitting[0]


def _encoder(px: int | None = None) -> Encoder:
    """The default encoder; for tiles of another size the one with a tissue head that takes them."""
    taking = [spec.key for spec in list_encoders() if spec.key in HEADS and spec.tile_px == px]
    return _loaded(taking[0] if taking else DEFAULT_ENCODER)


@cache
def _loaded(key: str) -> Encoder:
    """Loaded once in a process."""
    return load_encoder(key)


def _slide(embeddings: Embeddings) -> dict[str, Any]:
    """What an answer says of the slide."""
    kept = ("content_hash", "size", "mpp", "mpp_source", "format", "reader", "warnings")
    pseudonym = SlideInfo.from_json(embeddings.slide).pseudonym
    return {"id": pseudonym, **{key: embeddings.slide[key] for key in kept}}
