"""`tile`: which tiles of a slide are cut, where and by whom."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Literal, cast

from api import NOTICE
from api.cli.address import slide_address
from api.cli.pooling import pool_of
from api.cli.progress import one_slide
from api.cli.reply import Reply
from api.errors import BadRequestError
from tiling import DEFAULT_ZOOMS, Sampling, Selection, TileSpec, TileStore, TissueSpec
from tiling import tile as tile_slide
from tiling.segmenter import Segmenter


def tile(arguments: argparse.Namespace) -> Reply:
    """Cut a slide into tiles.

    Args:
        arguments: `slide`, `mpp0`, `out`, `scratch`, `mpp`, `tile`, `overlap`, `min_tissue`, `keep`, those of
            `selection_of` and `pool_of`.

    Returns:
        The reply.
    """
    begin = time.perf_counter()
    specs = [
        TileSpec(mpp=mpp, px=arguments.tile, overlap=arguments.overlap, min_tissue=arguments.min_tissue)
        for mpp in arguments.mpp or DEFAULT_ZOOMS
    ]
    address, selection = slide_address(arguments), selection_of(arguments)
    with pool_of(arguments) as pool, one_slide() as show:
        how = {"keep": arguments.keep, "scratch": arguments.scratch}
        store = tile_slide(address, specs, arguments.out, pool=pool, progress=show, selection=selection, **how)
    seconds = round(time.perf_counter() - begin, 3)
    tiles = tiles_by_zoom(store)
    document = {
        "store": store.location,
        "tiles": tiles,
        "seconds": seconds,
        "fingerprint": store.fingerprint,
        "slide": store.info.pseudonym,
        "quality": store.quality,
        "notice": NOTICE,
    }
    counts = "\n".join(f"{count:8d} tiles at {mpp} um/px" for mpp, count in tiles.items())
    return Reply(document, f"{counts}\n{store.location}\n{seconds:.1f} s\n{NOTICE}", warnings=store.info.warnings)


def tiles_by_zoom(store: TileStore) -> dict[str, int]:
    """How many tiles a store has.

    Args:
        store: The store.

    Returns:
        Scale in um/px, as text, to number of tiles.
    """
    return {f"{mpp:g}": len(store.grid(mpp)) for mpp in store.zooms}


def selection_of(arguments: argparse.Namespace) -> Selection:
    """Which tiles the caller wants.

    Args:
        arguments: `sample`, `stain`, `segmenter`, `mask`, `frame`.

    Returns:
        The selection.

    Raises:
        BadRequestError: If tissue is both drawn and left to a network.
    """
    if arguments.mask is not None and arguments.segmenter is not None:
        raise BadRequestError("tissue is either drawn (--mask) or found (--segmenter), not both")
    return Selection(
        sampling=_sampling(arguments.sample),
        tissue=TissueSpec(stain=arguments.stain),
        segmenter=None if arguments.segmenter is None else _network(arguments.segmenter),
        outline=arguments.mask,
        frame=arguments.frame,
    )


def _sampling(text: str) -> Sampling:
    """`all`, `top:N` or `stratified:N`.

    Raises:
        BadRequestError: If the number is none.
    """
    kind, _, number = text.partition(":")
    if number and not number.isdecimal():
        raise BadRequestError("--sample is all, top:N or stratified:N")
    return Sampling(cast("Literal['all', 'top', 'stratified']", kind), int(number or 0))


def _network(path: Path) -> Segmenter:
    from tiling.onnx_segmenter import OnnxSegmenter

    return OnnxSegmenter(path)
