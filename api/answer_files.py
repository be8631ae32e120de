"""The files of an answer: heat maps, tiles for QuPath, and `answer.json`, which comes last."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from biomarkers.export.geojson import TileLayer, write_geojson
from biomarkers.report.maps import Scale, View, heat_map, heat_scale, tile_index
from biomarkers.report.png import png
from foundation import Answer, Embeddings, PromptAnswer
from slides import Address, Region, SlideInfo, open_slide

MAP_PX: Final = 1280
"""Longer side of a heat map in pixels."""
OPACITY: Final = 0.6
"""Of the colours over the slide: strong enough to be read, weak enough to see the tissue."""
ANSWER: Final = "answer.json"
OURS: Final = re.compile(r"prompt-[0-9]+\.(png|geojson)")
"""Names of the files beside it; whatever else stands in the folder is the user's."""


def background(where: Address | Path, embeddings: Embeddings) -> tuple[View, NDArray[np.uint8]]:
    """The slide, small, to draw on; plain glass where only a store is there.

    Args:
        where: A slide, or the path of a store.
        embeddings: Of the slide.

    Returns:
        What part of the slide it is, and RGB [h, w, 3].
    """
    size = SlideInfo.from_json(embeddings.slide).size
    if isinstance(where, Address):
        with open_slide(where) as slide:
            image = slide.thumbnail(MAP_PX)
    else:
        factor = max(1.0, max(size.width, size.height) / MAP_PX)
        image = np.full((max(1, round(size.height / factor)), max(1, round(size.width / factor)), 3), 255, np.uint8)
    return View(Region.whole(size), (image.shape[0], image.shape[1])), image


def write_answer(
    out: Path,
    document: dict[str, Any],
    answer: Answer,
    layers: Sequence[TileLayer],
    drawn_on: tuple[View, NDArray[np.uint8]],
) -> None:
    """Write the files aside, then move them into place over those of an earlier answer, `answer.json` last.

    Args:
        out: Folder of the answer.
        document: What `answer.json` says.
        answer: The answer.
        layers: Tiles of each prompt.
        drawn_on: From `background`.
    """
    view, image = drawn_on
    index = tile_index(layers[0].grid, view)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".ask-") as name:
        staging = Path(name)
        for number, (prompt, layer) in enumerate(zip(answer.prompts, layers, strict=True), start=1):
            write_geojson(staging / f"prompt-{number}.geojson", layer, answer.notice)
            scale = scale_of(prompt)
            picture = blend(image, heat_map(index, prompt.probability, scale))
            (staging / f"prompt-{number}.png").write_bytes(png(picture, _caption(answer, prompt, scale)))
        (staging / ANSWER).write_text(escaped(document) + "\n", encoding="utf-8")
        (out / ANSWER).unlink(missing_ok=True)
        for old in out.iterdir():
            if OURS.fullmatch(old.name) and old.is_file() and not old.is_symlink():
                old.unlink()
        for path in sorted(staging.iterdir(), key=lambda path: path.name == ANSWER):
            path.replace(out / path.name)


def escaped(document: dict[str, Any]) -> str:
    """JSON that stays text wherever it is pasted: a prompt cannot open a tag when a page holds the document.

    Args:
        document: What to write.

    Returns:
        ASCII, without the signs that mean something in HTML.
    """
    text = json.dumps(document, indent=1, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def plain(prompt: str) -> str:
    """A prompt as a name inside files that other programs read.

    Args:
        prompt: What was asked.

    Returns:
        The prompt, without signs that mean something in HTML or at the start of a cell of a table.

    >>> plain("=<b>HER2+ & tumour</b>")
    'b HER2+ tumour b'
    """
    return " ".join(re.sub(r"[^\w\s,.()+-]", " ", prompt).split()).lstrip("+- ")


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


def scale_of(prompt: PromptAnswer) -> Scale:
    """What the colours of a heat map mean.

    Args:
        prompt: What was answered.

    Returns:
        The scale.
    """
    return heat_scale(prompt.probability, f"probability of {plain(prompt.meaning)}", diverging=False)


def numbers_of(prompt: PromptAnswer) -> dict[str, NDArray[np.floating[Any]]]:
    """What is said of each tile.

    Args:
        prompt: What was answered.

    Returns:
        Values [N] by name.
    """
    name = f"probability of {plain(prompt.meaning)}"
    numbers: dict[str, NDArray[np.floating[Any]]] = {name: prompt.probability, "raw": prompt.raw}
    if prompt.against_bank:
        numbers["percentile"] = prompt.against_bank.tiles
    return numbers


def _caption(answer: Answer, prompt: PromptAnswer, scale: Scale) -> dict[str, str]:
    """What a picture says of itself when it is passed on."""
    return {
        "Notice": answer.notice,
        "Prompt": plain(f"{prompt.prompt} ({prompt.meaning})"),
        "Note": answer.note,
        "Scale": f"{scale.label}: {scale.low:g} to {scale.high:g}",
    }
