"""A cohort becomes searchable: from its table and the features of its slides to an index."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api.errors import BadRequestError, safe_detail
from api.stores import kind_of
from biomarkers.manifest import Row, read_columns, read_manifest
from foundation import Embeddings, FoundationError
from foundation.embeddings import KIND as EMBEDDINGS
from foundation.index import IndexSlide, SearchIndex, grow
from foundation.index.catalogue import exists
from foundation.registry import DEFAULT_ENCODER
from slides import SlideError, SlideInfo, open_slide
from tiling import TilingError

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which features an index is made of."""

    encoder: str
    mpp: float | None
    """Scale in um/px; None for the only one there is."""


@dataclass(frozen=True, slots=True)
class _Stores:
    """Embeddings stores by the content of their slides."""

    by_content: dict[str, list[Embeddings]]

    def of(self, content: str) -> Embeddings:
        """The store of a slide.

        Raises:
            BadRequestError: If there is none, or more than one.
        """
        found = self.by_content.get(content, [])
        if not found:
            raise BadRequestError("no embeddings of this slide, by this encoder at this scale, stand in the folder")
        if len(found) > 1:
            raise BadRequestError("several embeddings of this slide fit; name one as its path in the manifest")
        return found[0]


def index_cohort(
    manifest: Path,
    out: Path,
    folder: Path | None = None,
    *,
    encoder: str | None = None,
    mpp: float | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Add the slides of a table to an index, or make one.

    Args:
        manifest: The table.
        out: The index.
        folder: Where embeddings stores are, at any depth; None where the table names them.
        encoder: Whose features; None for those of the index, or the default one.
        mpp: Scale in um/px; None for that of the index, or the only one there is.
        progress: Called with slides found and slides in all.

    Returns:
        A document: `index`, `slides` (each with `slide`, `state`, `tiles` and, where it failed, `reason`), `tiles`,
        `encoder`, `mpp`, `seconds`.
    """
    begin = time.perf_counter()
    rows, columns = read_manifest(manifest), read_columns(manifest)
    wanted = _wanted(out, encoder, mpp)
    stores = _stores(folder, wanted)
    listed: list[dict[str, Any]] = []
    given: list[tuple[int, IndexSlide]] = []
    for number, (row, cells) in enumerate(zip(rows, columns, strict=True)):
        listed.append({"slide": row.fallback, "state": "failed", "tiles": 0})
        try:
            made = _embeddings(row, stores, encoder)
            name = row.id or SlideInfo.from_json(made.slide).pseudonym
            given.append((number, IndexSlide(name, made.path, cells)))
        except (SlideError, FoundationError, TilingError, BadRequestError) as error:
            listed[-1]["reason"] = safe_detail(error)
        if progress is not None:
            progress(number + 1, len(rows))
    scale = _scale([slide for _, slide in given], wanted)
    for (number, _), outcome in zip(given, grow(out, [slide for _, slide in given], scale), strict=True):
        listed[number] = {"slide": outcome.slide, "state": outcome.state, "tiles": outcome.tiles}
        if outcome.error is not None:
            listed[number]["reason"] = safe_detail(outcome.error)
    return {"slides": listed, **described(out), "seconds": round(time.perf_counter() - begin, 3)}


def described(path: Path) -> dict[str, Any]:
    """What an index holds.

    Args:
        path: The index; perhaps none yet.

    Returns:
        `index`, `tiles`, `encoder` and `mpp`.
    """
    if not exists(path):
        return {"index": str(path), "tiles": 0, "encoder": None, "mpp": None}
    index = SearchIndex.open(path)
    catalogue = index.catalogue
    return {"index": str(path), "tiles": len(index), "encoder": catalogue.encoder, "mpp": catalogue.mpp}


def _wanted(out: Path, encoder: str | None, mpp: float | None) -> Wanted:
    """What the caller says, else what the index holds."""
    if not exists(out):
        return Wanted(encoder or DEFAULT_ENCODER, mpp)
    catalogue = SearchIndex.open(out).catalogue
    return Wanted(encoder or catalogue.encoder["key"], catalogue.mpp if mpp is None else mpp)


def _stores(folder: Path | None, wanted: Wanted) -> _Stores:
    found: dict[str, list[Embeddings]] = {}
    for path in sorted(folder.rglob("*.embeddings.zarr")) if folder is not None else ():
        try:
            made = Embeddings.open(path)
        except FoundationError:
            continue  # its slide is listed as one without features
        if made.encoder["key"] == wanted.encoder and (wanted.mpp is None or wanted.mpp in made.zooms):
            found.setdefault(made.slide["content_hash"], []).append(made)
    return _Stores(found)


def _embeddings(row: Row, stores: _Stores, encoder: str | None) -> Embeddings:
    """The features of one slide.

    Raises:
        BadRequestError: If the table names features of another encoder than is asked for.
    """
    if not row.address.is_remote and kind_of(row.address.path) == EMBEDDINGS:
        named = Embeddings.open(row.address.path)
        if encoder not in {None, named.encoder["key"]}:
            raise BadRequestError("the embeddings that the manifest names are of another encoder than --encoder")
        return named
    with open_slide(row.address) as slide:
        return stores.of(slide.info.content_hash)


def _scale(slides: list[IndexSlide], wanted: Wanted) -> float | None:
    """The scale of a new index.

    Raises:
        BadRequestError: If the features have several and none is asked for.
    """
    if wanted.mpp is not None or not slides:
        return wanted.mpp
    zooms = Embeddings.open(slides[0].embeddings).zooms
    if len(zooms) > 1:
        have = ", ".join(f"{zoom:g}" for zoom in zooms)
        raise BadRequestError(f"the embeddings hold the zooms {have} um/px; say which with --mpp")
    return zooms[0]
