"""From a planned slide to a bag with its truth, through the pipeline that scores: tile, embed, bag."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foundation import Encoder, load_encoder
from foundation.embed_stage import embed
from mil import Bag, Fit, bag_from_embeddings, predict, roc_auc
from slides import Address
from tiling import TileSpec, tile
from tools.demo_slides import IMMUNE, Plan, disc, discard, make, tile_shares

MPP = 1.0  # um/px: a tile of 224 um sees a few tens of cells of the maker's grid, and a slide has about a thousand
ENCODER = "builtin"


@dataclass(frozen=True)
class Places:
    """Where things are."""

    tools: Path
    """The shared tools folder."""
    data: Path
    """The shared data folder."""
    work: Path
    """Ours: slides come and go, bags stay."""


@dataclass(frozen=True, eq=False)
class Known:
    """A bag, and what is true in each of its tiles."""

    bag: Bag
    immune: NDArray[np.float64]
    """Share of the tile's tissue cells that are immune [N]."""
    inside: NDArray[np.float64]
    """Share of the tile's tissue cells inside the planted disc [N]; 0 on a plain slide."""


def known_bags(plans: Sequence[Plan], places: Places) -> Iterator[Known]:
    """Make slides, tile and embed them, and keep their bags; what is there already is not made again.

    Args:
        plans: Which slides.
        places: Where.

    Yields:
        A bag a plan, in order. The slide and the stores are deleted once its bag is kept.
    """
    encoder: Encoder | None = None
    for plan in plans:
        kept = places.work / "bags" / f"{plan.name}.npz"
        if not kept.exists():
            encoder = encoder or load_encoder(ENCODER)
            _keep(kept, plan, places, encoder)
        yield _read(kept, plan)


def _keep(kept: Path, plan: Plan, places: Places, encoder: Encoder) -> None:
    stages = places.work / "stages" / plan.name
    for folder in (kept.parent, places.work / "slides", stages):
        folder.mkdir(parents=True, exist_ok=True)
    slide = make(plan, places.tools, places.data, places.work / "slides")
    store = tile(slide, [TileSpec(MPP)], stages, keep="no")
    embeddings = embed(store, encoder, stages, address=Address.of(slide))
    bag = bag_from_embeddings(embeddings, [MPP], id=plan.name)
    with np.load(slide.with_suffix(".truth.npz")) as truth:
        classes = truth["classes"]
    tissue, side = classes > 0, embeddings.extent(MPP)[0]
    inside = disc(tissue, plan.seed) if plan.planted else np.zeros_like(tissue)
    draft = kept.with_suffix(".part.npz")
    np.savez(
        draft,
        features=embeddings.features(MPP),
        coords=bag.coords,
        encoder=np.array(bag.encoder),
        immune=tile_shares(classes == IMMUNE, tissue, bag.coords, side),
        inside=tile_shares(inside, tissue, bag.coords, side),
    )
    draft.replace(kept)
    discard([slide])
    shutil.rmtree(stages)


def _read(kept: Path, plan: Plan) -> Known:
    with np.load(kept) as file:
        features, encoder = file["features"].astype(np.float32), str(file["encoder"])
        bag = Bag(plan.name, features, file["coords"], float(plan.planted), str(plan.map), (MPP,), encoder)
        return Known(bag, file["immune"], file["inside"])


def figures(fit: Fit, known: Sequence[Known]) -> dict[str, float]:
    """Judge a head on slides whose truth is known.

    Args:
        fit: The head.
        known: Bags of both classes.

    Returns:
        `auroc` of the slides; `tile_auroc_*`, the mean over planted slides of the area of the tile contributions
        against the tiles that are mostly immune cells, and against those inside the disc; beside it the worst slide.
    """
    scores = [predict(fit, one.bag) for one in known]
    result = {"auroc": roc_auc([one.bag.label or 0.0 for one in known], [score.logit for score in scores])}
    for name in ("immune", "inside"):
        areas = [
            roc_auc(getattr(one, name) >= 0.5, np.asarray(score.contributions))
            for one, score in zip(known, scores, strict=True)
            if one.bag.label == 1 and 0 < (getattr(one, name) >= 0.5).sum() < len(one.bag)
        ]
        result |= {f"tile_auroc_{name}": float(np.mean(areas)), f"tile_auroc_{name}_worst": float(np.min(areas))}
    return result
