"""`demo`: a sample slide through the whole path, in a minute or two."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from api.cli.progress import progress
from api.cli.reply import Reply
from api.cli.scoring import document_of, text_of
from api.sample import sample_slide
from api.settings import Settings
from biomarkers import Score, score
from slides import Address

BIOMARKERS: Final = ("tissue-composition", "demo-response")


def demo(arguments: argparse.Namespace) -> Reply:
    """Score a sample slide by both biomarkers.

    Args:
        arguments: `out`.

    Returns:
        The reply.
    """
    out: Path = arguments.out
    sample = sample_slide(Settings().cache, out)
    found = {name: _score(Address.of(sample.path), name, out) for name in BIOMARKERS}
    document = {
        "sample": {"source": sample.source, "real": sample.real},
        "scores": {name: document_of(result, out / name) for name, result in found.items()},
    }
    texts = [text_of(result, out / name) for name, result in found.items()]
    return Reply(document, "\n\n".join([f"sample: {sample.source}", *texts]))


def _score(address: Address, name: str, out: Path) -> Score:
    """Score by one biomarker; both share what they can."""
    with progress("tiles") as show:
        return score(address, name, out / name, progress=show, stages=out / "stages")
