"""`index` and `search`: a cohort becomes searchable, and is searched by words, tiles and slides."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api import NOTICE
from api.cli.progress import progress
from api.cli.reply import FAILED, OK, Reply
from api.errors import BadRequestError

if TYPE_CHECKING:
    from foundation.index import Found, Query, SearchIndex


def index(arguments: argparse.Namespace) -> Reply:
    """Add slides to an index, or take some out.

    Args:
        arguments: `manifest`, `out`, `embeddings`, `encoder`, `mpp`, `remove`, `approximate`.

    Returns:
        The reply; its status is 1 if a slide could not be added.

    Raises:
        BadRequestError: If nothing is to be done.
    """
    from api.indexing import described, index_cohort
    from foundation.index import approximate, remove

    if not (arguments.manifest or arguments.remove or arguments.approximate):
        raise BadRequestError("give a MANIFEST.csv, --remove or --approximate")
    if arguments.remove:
        remove(arguments.out, set(arguments.remove))
    document = described(arguments.out)
    if arguments.manifest:
        with progress("slides") as show:
            how: dict[str, Any] = {"encoder": arguments.encoder, "mpp": arguments.mpp, "progress": show}
            document = index_cohort(arguments.manifest, arguments.out, arguments.embeddings, **how)
    if arguments.approximate:
        approximate(arguments.out)
    listed = document.get("slides", [])
    failed = [one for one in listed if one["state"] == "failed"]
    lines = [f"{one['slide']}: {one['state']}{_why(one)}" for one in listed]
    text = "\n".join([*lines, f"{document['tiles']} tiles: {arguments.out}", NOTICE])
    complaint = f"{len(failed)} of {len(listed)} slides are not in the index" if failed else ""
    return Reply(document, text, FAILED if failed else OK, complaint)


def _why(one: dict[str, Any]) -> str:
    return f", {one['reason']}" if "reason" in one else f", {one['tiles']} tiles"


def search(arguments: argparse.Namespace) -> Reply:
    """Find tiles and slides.

    Args:
        arguments: `index`, one of `text`, `tile`, `slide` and `embeddings`, `weights`, `k`, `where`, `without`,
            `per_slide`, `overlap`, `mmr`, `approximate`.

    Returns:
        The reply.
    """
    from foundation.index import Approximation, Diversity, SearchIndex
    from foundation.index import search as find
    from foundation.index.searching import require_k

    require_k(arguments.k)
    where = wheres(arguments.where)
    opened = SearchIndex.open(arguments.index)
    query = _query(opened, arguments)
    found = find(
        opened,
        query,
        arguments.k,
        where=where,
        without=set(arguments.without),
        diversity=Diversity(not arguments.overlap, arguments.per_slide, arguments.mmr),
        slides=not arguments.approximate,
        approximation=Approximation(opened) if arguments.approximate else None,
    )
    document = {"query": {"kind": query.kind, "text": arguments.text}, **found.to_json()}
    return Reply(document, text_of(found), warnings=found.warnings)


def _query(index: SearchIndex, arguments: argparse.Namespace) -> Query:
    """What is searched for."""
    from foundation import Embeddings, load_encoder
    from foundation.index import by_embeddings, by_slide, by_text, by_tile
    from foundation.prompts import checked

    if arguments.text is not None:
        checked([arguments.text])  # before weights are loaded
        closed = index.catalogue.tissue_head is not None
        encoder = None if closed else load_encoder(index.catalogue.encoder["key"], arguments.weights)
        return by_text(index, arguments.text, encoder)
    if arguments.tile is not None:
        return by_tile(index, *place(arguments.tile))
    if arguments.slide is not None:
        return by_slide(index, arguments.slide)
    return by_embeddings(index, Embeddings.open(Path(arguments.embeddings)))


def place(text: str) -> tuple[str, int, int]:
    """Read the place of a tile.

    Args:
        text: `SLIDE,X,Y`.

    Returns:
        Pseudonym, and level-0 pixels.

    Raises:
        BadRequestError: If it is not that.
    """
    slide, *at = text.rsplit(",", 2)
    try:
        x, y = map(int, at)
    except ValueError as error:
        raise BadRequestError("--tile is SLIDE,X,Y with X and Y in level-0 pixels") from error
    return slide, x, y


def wheres(texts: Sequence[str]) -> dict[str, set[str]]:
    """Read filters.

    Args:
        texts: `COLUMN=VALUE,...` each; a column that is given twice takes the values of both.

    Returns:
        Column -> values.

    Raises:
        BadRequestError: If one is not that.
    """
    found: dict[str, set[str]] = {}
    for text in texts:
        column, equals, values = text.partition("=")
        if not column or not equals:
            raise BadRequestError("--where is COLUMN=VALUE, or COLUMN=VALUE,VALUE for any of them")
        found.setdefault(column.strip(), set()).update(value.strip() for value in values.split(","))
    return found


def text_of(found: Found) -> str:
    """What was found in a few lines.

    Args:
        found: The answer.

    Returns:
        The text.
    """
    searched = f"{found.searched['tiles']} tiles of {found.searched['slides']} slides"
    how = f"exact, {found.rescored} read" if found.exact else "approximate"
    tiles = [f"{hit.rank:4} {hit.score:.4f} {hit.slide} x {hit.x} y {hit.y}" for hit in found.hits]
    slides = [f"{one.rank:4} {one.score:.4f} {one.slide} best {one.best:.4f}" for one in found.slides[:10]]
    heads = [f"{found.meaning}: {searched} ({how})", "tiles:", *tiles, *(["slides:", *slides] if slides else [])]
    return "\n".join([*heads, found.note, found.notice])
