"""`encoders`, `biomarkers`, `verify`: what is there, and whether it is whole."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Final

from api import NOTICE, catalogue
from api.cli.encoder_report import encoder_table, known_encoders
from api.cli.reply import FAILED, OK, Reply
from api.errors import BadRequestError
from api.stores import is_store

DOCTOR: Final = "`oncoscope doctor` says what the others lack."


def encoders(_arguments: argparse.Namespace) -> Reply:
    """List the encoders.

    Returns:
        The reply.
    """
    known = known_encoders()
    return Reply(known, "\n".join([*encoder_table(known), DOCTOR]))


def biomarkers(_arguments: argparse.Namespace) -> Reply:
    """List the biomarkers.

    Returns:
        The reply.
    """
    known = catalogue.biomarkers()
    lines = [f"{row['name']:24} {row['version']}  {row['title']}\n{'':24} {row['intended_use']}" for row in known]
    return Reply({"biomarkers": known}, "\n".join(lines))


def verify(arguments: argparse.Namespace) -> Reply:
    """Check a store or a result against its checksums.

    Args:
        arguments: `store`.

    Returns:
        The reply; its status is 1 if something is damaged.
    """
    from tiling.damage import lost_tiles

    kind, damaged = check(arguments.store)
    lost = [asdict(tile) for tile in lost_tiles(arguments.store, damaged)] if damaged and kind == "store" else []
    document = {"path": str(arguments.store), "kind": kind, "whole": not damaged, "damaged": damaged, "tiles": lost}
    tiles = [
        f"tile at {t['mpp']:g} um/px, row {t['row']}, column {t['col']}, level-0 ({t['x']}, {t['y']})" for t in lost
    ]
    text = "\n".join([f"{kind}: {'damaged' if damaged else 'whole'}", *damaged, *tiles, NOTICE])
    complaint = f"{len(damaged)} of its files are missing or altered; remove it and make it again" if damaged else ""
    return Reply(document, text, FAILED if damaged else OK, complaint)


def check(path: Path | str) -> tuple[str, list[str]]:
    """Read every byte of a store, result or search index.

    Args:
        path: Its folder, or the `s3://` address of a store.

    Returns:
        What it is, and the names of members that are missing or altered.

    Raises:
        BadRequestError: If it is none of these.
    """
    from biomarkers import verify_result
    from foundation.index import verify_index
    from foundation.index.catalogue import exists
    from tiling import verify_manifest

    if is_store(path):
        return "store", verify_manifest(path)
    if isinstance(path, Path) and (path / "report.json").is_file():
        return "result", verify_result(path)
    if isinstance(path, Path) and exists(path):
        return "index", verify_index(path)
    raise BadRequestError("neither a store, a result nor an index stands at this place")
