"""`info`, `tile`, `embed`: one slide, one stage."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from api import NOTICE
from api.cli.address import slide_address
from api.cli.pooling import pool_of
from api.cli.progress import progress
from api.cli.reply import Reply
from api.errors import BadRequestError
from api.stores import is_store, open_tiles
from slides import Address, SlideInfo, open_slide
from slides.scale_check import check_scale
from tiling import Pool, TileSpec, TileStore
from tiling import tile as tile_slide


def info(arguments: argparse.Namespace) -> Reply:
    """Say what is known of a slide.

    Args:
        arguments: `slide`, `mpp0`.

    Returns:
        The reply.
    """
    with open_slide(slide_address(arguments)) as slide:
        known, ruler = slide.info, check_scale(slide)
    if ruler.warning:
        known = replace(known, warnings=(*known.warnings, ruler.warning))
    return Reply({"slide": known.pseudonym, **known.to_json()}, describe(known))


def describe(known: SlideInfo) -> str:
    """A slide in a few lines.

    Args:
        known: What is known of it.

    Returns:
        The text.
    """
    scale = "unknown; give --mpp0" if known.mpp is None else f"{known.mpp.x:g} x {known.mpp.y:g} um/px"
    levels = ", ".join(f"{level.size.width} x {level.size.height}" for level in known.levels)
    lines = [
        f"format   {known.format}, read by {known.reader} ({known.reader_reason})",
        f"size     {known.size.width} x {known.size.height} px",
        f"scale    {scale} (from: {known.mpp_source})",
        f"levels   {levels}",
        f"content  {known.content_hash}",
        *(f"warning  {warning}" for warning in known.warnings),
        NOTICE,
    ]
    return "\n".join(lines)


def embed(arguments: argparse.Namespace) -> Reply:
    """Turn the tiles of a slide, or of a store, into features.

    Args:
        arguments: `slide` (or a store), `mpp0`, `out`, `encoder`, `weights`, `mpp`, `one_pass`, and what `pool_of`
            asks for.

    Returns:
        The reply.
    """
    from foundation import embed as embed_tiles
    from foundation import embed_in_one_pass, load_encoder

    begin = time.perf_counter()
    address = None if is_store(Path(arguments.slide)) else slide_address(arguments)
    pooled = _pool(arguments, address)
    encoder = load_encoder(arguments.encoder, arguments.weights)
    zooms = arguments.mpp or (encoder.spec.mpp if address else None)
    if address is not None and arguments.one_pass:
        with pooled as pool, progress("tiles") as show:
            how = {"weights": arguments.weights, "pool": pool, "progress": show}
            store, made = embed_in_one_pass(address, _specs(zooms, encoder.spec.px), encoder, arguments.out, **how)
    else:
        store = _tiles(arguments, address, zooms, encoder.spec.px)
        with progress("tiles") as show:
            made = embed_tiles(store, encoder, arguments.out, zooms=zooms, address=address, progress=show)
    seconds = round(time.perf_counter() - begin, 3)
    document = {
        "store": str(made.path),
        "encoder": made.encoder,
        "tiles": {f"{mpp:g}": len(store.grid(mpp)) for mpp in made.zooms},
        "seconds": seconds,
        "fingerprint": made.fingerprint,
    }
    return Reply(document, f"{made.path}\n{seconds:.1f} s\n{NOTICE}", warnings=store.info.warnings)


def _pool(arguments: argparse.Namespace, address: Address | None) -> Pool | nullcontext[None]:
    """Where tiles are cut and encoded in one pass.

    Raises:
        BadRequestError: If there is no such pass: it needs a slide, and workers have nothing else to do.
    """
    if arguments.one_pass and address is None:
        raise BadRequestError("--one-pass cuts tiles, so it takes a slide and not a store")
    if not arguments.one_pass and any((arguments.scheduler, arguments.workers is not None, arguments.certs)):
        raise BadRequestError("--scheduler, --workers and --certs belong to --one-pass; tiles are else encoded here")
    return pool_of(arguments)


def _specs(zooms: Sequence[float] | None, px: int) -> list[TileSpec]:
    """What to cut for an encoder.

    Raises:
        BadRequestError: If no scale is known.
    """
    if not zooms:
        raise BadRequestError("this encoder states no scale; give --mpp")
    return [TileSpec(mpp=mpp, px=px) for mpp in zooms]


def _tiles(arguments: argparse.Namespace, address: Address | None, zooms: Sequence[float] | None, px: int) -> TileStore:
    """The given store, or one made of the given slide that keeps no pixels.

    Raises:
        BadRequestError: If a scale of level 0 is given for a store, which has its own.
    """
    if address is not None:
        return tile_slide(address, _specs(zooms, px), Path(arguments.out), keep="no")
    if arguments.mpp0 is not None:
        raise BadRequestError("a store knows its scale; leave --mpp0 away")
    return open_tiles(Path(arguments.slide))
