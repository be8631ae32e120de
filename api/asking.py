"""Ask a slide with words, from the slide or any of its stores to an answer with heat maps: `answer.json` comes last."""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from api.errors import BadRequestError
from api.stores import kind_of, open_tiles
from biomarkers.export.geojson import TileLayer, write_geojson
from biomarkers.report.maps import Scale, View, heat_map, heat_scale, tile_index
from biomarkers.report.png import png
from foundation import Answer, Embeddings, Encoder, PromptAnswer, ask, embed, load_encoder
from foundation.embeddings import KIND as EMBEDDINGS
from foundation.prompts import checked, tissue_of
from slides import Address, Region, SlideInfo, open_slide
from tiling import Pool, TileGrid, TileSpec, tile

ZOOM: Final = 0.5
"""Scale in um/px at which a slide is asked: cells and their surroundings, and what `tissue-composition` uses too."""
MAP_PX: Final = 1280
"""Longer side of a heat map in pixels."""
OPACITY: Final = 0.6
"""Of the colours over the slide: strong enough to be read, weak enough to see the tissue."""
ANSWER: Final = "answer.json"
OURS: Final = re.compile(r"prompt-[0-9]+\.(png|geojson)")
"""Names of the files beside it; whatever else stands in the folder is the user's."""
Progress = Callable[[int, int], None]


def require_known(prompts: Sequence[str]) -> None:
    """Refuse prompts that the built-in encoder does not understand; a `PromptError` says which.

    Args:
        prompts: What was asked.
    """
    for word in checked(prompts):
        tissue_of(word)


def ask_slide(
    where: Address | Path,
    prompts: Sequence[str],
    out: Path,
    pool: Pool | None = None,
    *,
    stages: Path | None = None,
    progress: Progress | None = None,
    tiled: Progress | None = None,
) -> dict[str, Any]:
    """Put prompts to a slide and draw where their answers are.

    Args:
        where: A slide, or the path of a tile or embeddings store.
        prompts: Words of the closed vocabulary.
        out: Folder of the answer.
        pool: Where tiles are cut; threads of this process where None.
        stages: Folder of reusable tiles and embeddings; `out/stages` where None.
        progress: Called with tiles embedded and tiles in all.
        tiled: Called with tiles cut and tiles in all, before.

    Returns:
        What `answer.json` says: the answer, `slide`, `seconds`, and in each prompt the names of its files.
    """
    begin = time.perf_counter()
    require_known(prompts)
    embeddings = _embeddings(where, stages or out / "stages", pool, progress, tiled)
    answer = ask(embeddings, prompts)
    grid = grid_of(embeddings, answer.mpp)
    document = answer.to_json() | {"slide": _slide(embeddings)}
    for number, (prompt, found) in enumerate(zip(document["prompts"], answer.prompts, strict=True), start=1):
        prompt["files"] = {"heatmap_png": f"prompt-{number}.png", "tiles_geojson": f"prompt-{number}.geojson"}
        prompt["heatmap_scale"] = [_scale(found).low, _scale(found).high]
    document["seconds"] = round(time.perf_counter() - begin, 3)
    info, digest = SlideInfo.from_json(embeddings.slide), document["provenance"]["embeddings_fingerprint"]
    layers = [TileLayer(info, grid, digest + prompt.prompt, _numbers(prompt)) for prompt in answer.prompts]
    _write(out, document, answer, layers, _background(where, embeddings))
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


def _embeddings(
    where: Address | Path, stages: Path, pool: Pool | None, progress: Progress | None, tiled: Progress | None
) -> Embeddings:
    """Open, or make, what is asked."""
    if isinstance(where, Path) and kind_of(where) == EMBEDDINGS:
        return Embeddings.open(where)
    if isinstance(where, Path):
        store = open_tiles(where)
        zoom = ZOOM if ZOOM in store.zooms else store.zooms[0]
        return embed(store, _encoder(), stages, zooms=[zoom], progress=progress)
    store = tile(where, [TileSpec(mpp=ZOOM)], stages, pool=pool, keep="no", progress=tiled)
    return embed(store, _encoder(), stages, zooms=[ZOOM], address=where, progress=progress)


@cache
def _encoder() -> Encoder:
    """The built-in encoder, loaded once in a process."""
    return load_encoder("builtin")


def _slide(embeddings: Embeddings) -> dict[str, Any]:
    """What an answer says of the slide."""
    kept = ("content_hash", "size", "mpp", "mpp_source", "format", "reader", "warnings")
    pseudonym = SlideInfo.from_json(embeddings.slide).pseudonym
    return {"id": pseudonym, **{key: embeddings.slide[key] for key in kept}}


def _background(where: Address | Path, embeddings: Embeddings) -> tuple[View, NDArray[np.uint8]]:
    """The slide, small, to draw on; plain glass where only a store is there."""
    size = SlideInfo.from_json(embeddings.slide).size
    if isinstance(where, Address):
        with open_slide(where) as slide:
            image = slide.thumbnail(MAP_PX)
    else:
        factor = max(1.0, max(size.width, size.height) / MAP_PX)
        image = np.full((max(1, round(size.height / factor)), max(1, round(size.width / factor)), 3), 255, np.uint8)
    return View(Region.whole(size), (image.shape[0], image.shape[1])), image


def _write(
    out: Path,
    document: dict[str, Any],
    answer: Answer,
    layers: Sequence[TileLayer],
    background: tuple[View, NDArray[np.uint8]],
) -> None:
    """Write the files aside, then move them into place over those of an earlier answer, `answer.json` last."""
    view, image = background
    index = tile_index(layers[0].grid, view)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".ask-") as name:
        staging = Path(name)
        for number, (prompt, layer) in enumerate(zip(answer.prompts, layers, strict=True), start=1):
            write_geojson(staging / f"prompt-{number}.geojson", layer, answer.notice)
            scale = _scale(prompt)
            picture = blend(image, heat_map(index, prompt.probability, scale))
            (staging / f"prompt-{number}.png").write_bytes(png(picture, _caption(answer, prompt, scale)))
        (staging / ANSWER).write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        (out / ANSWER).unlink(missing_ok=True)
        for old in out.iterdir():
            if OURS.fullmatch(old.name) and old.is_file() and not old.is_symlink():
                old.unlink()
        for path in sorted(staging.iterdir(), key=lambda path: path.name == ANSWER):
            path.replace(out / path.name)


def blend(image: NDArray[np.uint8], overlay: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lay a map over a picture.

    Args:
        image: RGB [h, w, 3].
        overlay: RGBA [h, w, 4].

    Returns:
        RGB [h, w, 3].
    """
    mixed = cv2.addWeighted(image, 1 - OPACITY, np.ascontiguousarray(overlay[..., :3]), OPACITY, 0)
    return np.where(overlay[..., 3:] > 0, mixed, image).astype(np.uint8)


def _scale(prompt: PromptAnswer) -> Scale:
    """What the colours of a heat map mean."""
    return heat_scale(prompt.probability, f"probability of {prompt.meaning}", diverging=False)


def _numbers(prompt: PromptAnswer) -> dict[str, NDArray[np.floating[Any]]]:
    """What is said of each tile."""
    return {f"probability of {prompt.meaning}": prompt.probability, "raw": prompt.raw}


def _caption(answer: Answer, prompt: PromptAnswer, scale: Scale) -> dict[str, str]:
    """What a picture says of itself when it is passed on."""
    return {
        "Notice": answer.notice,
        "Prompt": f"{prompt.prompt} ({prompt.meaning})",
        "Note": answer.note,
        "Scale": f"{scale.label}: {scale.low:g} to {scale.high:g}",
    }
