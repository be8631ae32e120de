"""`embed`: slides or stores of tiles into features, with one or several encoders."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api import NOTICE
from api.cli.address import slide_address
from api.cli.failure import reply_of
from api.cli.pooling import pool_of
from api.cli.progress import progress
from api.cli.reply import FAILED, OK, Reply
from api.errors import BadRequestError
from api.stores import is_store, open_tiles
from slides import Address, open_slide
from tiling import TileSpec, TileStore, scales_within

if TYPE_CHECKING:  # torch is loaded when the command runs, not when its module is imported
    from foundation import Embeddings, EmbedOptions, Encoder, SlideOutcome


def embed(arguments: argparse.Namespace) -> Reply:
    """Turn the tiles of slides, or of stores, into features.

    Args:
        arguments: `slide` (several slides or stores), `mpp0`, `out`, `encoder` (several), `weights`, `mpp`, `batch`,
            `device`, `compile`, `override`, `one_pass`, and what `pool_of` asks for.

    Returns:
        The reply; several slides or encoders give a list, and status 1 where any failed.
    """
    from foundation import load_encoder
    from foundation.registry import DEFAULT_ENCODER

    begin = time.perf_counter()
    arguments.encoder = list(dict.fromkeys(arguments.encoder or [DEFAULT_ENCODER]))
    sources = [_source(arguments, slide) for slide in arguments.slide]
    _require_possible(arguments, sources)
    encoders = [load_encoder(key, arguments.weights) for key in arguments.encoder]
    _require_scales(arguments, sources, encoders)
    if arguments.one_pass:
        (address,), (encoder,) = sources, encoders
        return _one_pass(arguments, address, encoder, begin)
    return _run(arguments, sources, encoders, begin)


def _source(arguments: argparse.Namespace, slide: str) -> Address | Path:
    """A slide, or a store's folder.

    Raises:
        BadRequestError: If a scale of level 0 is given for a store, which has its own.
    """
    if not is_store(Path(slide)):
        return slide_address(argparse.Namespace(**{**vars(arguments), "slide": slide}))
    if arguments.mpp0 is not None:
        raise BadRequestError("a store knows its scale; leave --mpp0 away")
    return Path(slide)


def _require_possible(arguments: argparse.Namespace, sources: Sequence[Address | Path]) -> None:
    """Refuse what contradicts itself.

    Raises:
        BadRequestError: If it does.
    """
    single = len(sources) == len(arguments.encoder) == 1
    if arguments.one_pass and (not single or not isinstance(sources[0], Address)):
        raise BadRequestError("--one-pass cuts tiles for one encoder, so it takes a slide and not a store")
    if not arguments.one_pass and any((arguments.scheduler, arguments.workers is not None, arguments.certs)):
        raise BadRequestError("--scheduler, --workers and --certs belong to --one-pass; tiles are else encoded here")
    if arguments.weights is not None and len(arguments.encoder) > 1:
        raise BadRequestError("--weights belongs to one --encoder; run several of your own one after the other")
    if arguments.one_pass and arguments.device not in {"auto", "cpu"}:
        raise BadRequestError("--one-pass encodes on the CPUs that cut the tiles; leave --device away")


def _require_scales(
    arguments: argparse.Namespace, sources: Sequence[Address | Path], encoders: Sequence[Encoder]
) -> None:
    """Refuse to guess a scale.

    Raises:
        BadRequestError: If none is known.
    """
    silent = not all(encoder.spec.mpp for encoder in encoders)
    if silent and not arguments.mpp and any(isinstance(source, Address) for source in sources):
        raise BadRequestError("this encoder states no scale; give --mpp")


def _options(arguments: argparse.Namespace) -> EmbedOptions:
    from foundation import EmbedOptions

    how = {name: getattr(arguments, name) for name in ("batch", "device", "compile", "override")}
    return EmbedOptions(**how)


def _one_pass(arguments: argparse.Namespace, address: Address | Path, encoder: Encoder, begin: float) -> Reply:
    """Encode tiles where they are cut, perhaps on other machines."""
    from foundation import embed_in_one_pass

    assert isinstance(address, Address)  # noqa: S101 - so `_require_possible` has it
    specs = [TileSpec(mpp=mpp, px=encoder.spec.tile_px) for mpp in arguments.mpp or _scales(address, encoder)]
    with pool_of(arguments) as pool, progress("tiles") as show:
        options = replace(_options(arguments), device="cpu")
        how: Any = {"weights": arguments.weights, "pool": pool, "progress": show, "options": options}
        store, made = embed_in_one_pass(address, specs, encoder, arguments.out, **how)
    return _single(made, begin, store.info.warnings, {})


def _scales(address: Address, encoder: Encoder) -> tuple[float, ...]:
    """The encoder's scales, as far as the slide was scanned finely enough."""
    with open_slide(address) as slide:
        return scales_within(slide.info, encoder.spec.mpp)


def _run(
    arguments: argparse.Namespace, sources: Sequence[Address | Path], encoders: Sequence[Encoder], begin: float
) -> Reply:
    """All slides through the engine."""
    from foundation import EmbedRun, SlideSource

    single = len(sources) == len(encoders) == 1
    opened = [_opened(source) for source in sources] if single else sources
    given = [SlideSource(address=each) if isinstance(each, Address) else SlideSource(store=each) for each in opened]
    how = {"zooms": arguments.mpp, "options": _options(arguments)}
    with progress("tiles") as show:
        run = EmbedRun(given, encoders, arguments.out, progress=show, **how)
        outcomes = sorted(run, key=lambda outcome: outcome.number)
    report = {"report": run.report().to_json()}
    if single:
        return _single(outcomes[0].get(), begin, outcomes[0].warnings, report)
    return _several(outcomes, begin, report)


def _opened(source: Address | Path) -> Address | TileStore:
    return source if isinstance(source, Address) else open_tiles(source)


def _described(made: Embeddings) -> dict[str, Any]:
    tiles = {f"{mpp:g}": made.count(mpp) for mpp in made.zooms}
    return {"store": str(made.path), "encoder": made.encoder, "tiles": tiles, "fingerprint": made.fingerprint}


def _single(made: Embeddings, begin: float, warnings: Sequence[str], report: dict[str, Any]) -> Reply:
    seconds = round(time.perf_counter() - begin, 3)
    document = {**_described(made), "seconds": seconds, **report}
    return Reply(document, f"{made.path}\n{seconds:.1f} s\n{NOTICE}", warnings=warnings)


def _several(outcomes: Sequence[SlideOutcome], begin: float, report: dict[str, Any]) -> Reply:
    """A list: one bad slide does not hide the others."""
    listed, lines = [], []
    for outcome in outcomes:
        about: dict[str, Any] = {"slide": outcome.number + 1, "encoder": outcome.encoder, "state": "done"}
        if outcome.error is None:
            about |= _described(outcome.get())
            lines.append(f"{outcome.number + 1} {outcome.encoder}: {about['store']}")
        else:
            reply = reply_of(outcome.error)
            about |= {**(reply.document or {}), "reason": reply.complaint}
            lines.append(f"{outcome.number + 1} {outcome.encoder}: {about['state']}, {reply.complaint}")
        listed.append(about)
    failed = sum(outcome.error is not None for outcome in outcomes)
    seconds = round(time.perf_counter() - begin, 3)
    return Reply(
        {"slides": listed, "seconds": seconds, **report},
        "\n".join([*lines, f"{seconds:.1f} s", NOTICE]),
        FAILED if failed else OK,
        f"{failed} of {len(outcomes)} failed" if failed else "",
        [warning for outcome in outcomes for warning in outcome.warnings],
    )
