"""From a slide to a score: open, tile, gate, embed, read, report. Each stage is reused where it is already done."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from biomarkers.card import Biomarker, load_card
from biomarkers.gate import measure_gates, require_passed
from biomarkers.provenance import KEEP, chain, request_fingerprint
from biomarkers.publish import file_names, publish, tile_layer
from biomarkers.reading import Reading, read
from biomarkers.report.evidence import gather
from biomarkers.result import make_room, stored_score
from biomarkers.score import Gate, Score
from foundation import Embeddings, Encoder, embed, load_encoder
from foundation.access import Access, chosen
from slides import Address, SlideInfo, open_slide
from tiling import Pool, TileStore, tile

Progress = Callable[[int, int], None]
"""Called with tiles done and tiles in all."""
SLIDE_FACTS = ("content_hash", "size", "mpp", "mpp_source", "format", "reader", "warnings")


@dataclass(frozen=True, eq=False)
class Stages:
    """What is known of a slide when its head has spoken."""

    store: TileStore
    gates: tuple[Gate, ...]
    embeddings: Embeddings
    reading: Reading


def score(
    address: Address | str | Path,
    biomarker: Biomarker | str | Path,
    out: Path,
    pool: Pool | None = None,
    progress: Progress | None = None,
    *,
    slide_id: str | None = None,
    stages: Path | None = None,
    tiled: Progress | None = None,
    access: Access | None = None,
) -> Score:
    """Score a slide and write its report; a whole result of the same request is returned as it is.

    Args:
        address: The slide.
        biomarker: A card, its name, or the path of one.
        out: Folder of the result; `report.json` appears there last, or not at all.
        pool: Where tiles are cut; threads of this process where None.
        progress: Called with tiles embedded and tiles in all.
        slide_id: The researcher's pseudonym of the slide; one made from its content where None.
        stages: Folder of reusable stages (tiles, embeddings); `out/stages` where None.
        tiled: Called with tiles cut and tiles in all, before any is embedded.
        access: What encoders may be used for, and where their weights are; None for what the process was told.

    Returns:
        The score. A slide that cannot be judged raises a `NotEvaluableError`, and nothing of a result is left in `out`.
        A result of another slide in `out` is a `FolderInUseError` and stays as it is.
    """
    started = time.monotonic()
    card = biomarker if isinstance(biomarker, Biomarker) else load_card(biomarker)
    address = Address.of(address)
    with open_slide(address) as slide:
        info = slide.info
    request = request_fingerprint(info, card, slide_id)
    ready = stored_score(out, request)
    if ready is not None:
        return ready
    make_room(out, info.content_hash, slide_id)
    done = _run(address, card, stages or out / "stages", pool, (tiled, progress), access=access or chosen())
    grid = done.store.grid(card.zooms[0])
    evidence = gather(address, done.store, grid, done.reading)
    found = _score(info, card, done, slide_id)
    provenance = {**found.provenance, "request": request}
    found = replace(found, provenance=provenance, files=file_names(evidence), seconds=time.monotonic() - started)
    layer = tile_layer(str(provenance["score"]), done.reading, info, grid, card)
    publish(out, found, card, layer, evidence)
    return found


def _run(
    address: Address,
    card: Biomarker,
    stages: Path,
    pool: Pool | None,
    told: tuple[Progress | None, Progress | None],
    *,
    access: Access,
) -> Stages:
    """Tile, check the gates, and only then embed, which is what takes long."""
    tiled, embedded = told
    store = tile(address, card.specs, stages, pool=pool, keep=KEEP, progress=tiled)
    grid = store.grid(card.zooms[0])
    gates = measure_gates(card, store.mask, grid)
    require_passed(gates)
    encoder = _encoder(card.encoder, access)
    embeddings = embed(store, encoder, stages, zooms=card.zooms, address=address, progress=embedded)
    return Stages(store, gates, embeddings, read(card, embeddings, grid))


def _score(info: SlideInfo, card: Biomarker, done: Stages, slide_id: str | None) -> Score:
    """All that is known of a score before its files are made."""
    facts = info.to_json()
    return Score(
        score=done.reading.score,
        category=card.category(done.reading.score),
        biomarker=card.reference,
        slide={"id": slide_id or info.pseudonym, **{key: facts[key] for key in SLIDE_FACTS}},
        tiles={f"{zoom:g}": len(done.store.grid(zoom)) for zoom in card.zooms},
        gates=done.gates,
        measures=done.reading.measures,
        seconds=0.0,
        provenance=chain(info, card, done.embeddings, done.reading.head),
        notice=card.notice,
    )


@cache
def _encoder(key: str, access: Access) -> Encoder:
    """One encoder a process: a cohort loads it once."""
    return load_encoder(key, access=access)
