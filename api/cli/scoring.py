"""`score` and `cohort`: biomarkers of one slide or of many."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from api import NOTICE
from api.cli.address import slide_address
from api.cli.pooling import pool_of
from api.cli.progress import events, progress
from api.cli.reply import FAILED, OK, Reply
from biomarkers import Score, score_cohort
from biomarkers import score as score_slide
from tiling import Needs


def score(arguments: argparse.Namespace) -> Reply:
    """Score a slide.

    Args:
        arguments: `slide`, `mpp0`, `out`, `biomarker`.

    Returns:
        The reply.
    """
    with progress("tiles") as show:
        found = score_slide(slide_address(arguments), arguments.biomarker, arguments.out, progress=show)
    return Reply(document_of(found, arguments.out), text_of(found, arguments.out), warnings=found.warnings)


def document_of(found: Score, out: Path) -> dict[str, Any]:
    """A score as a document whose file names lead to the files.

    Args:
        found: The score.
        out: Folder of its result.

    Returns:
        The document.
    """
    return found.to_json() | {"files": {what: str(out / name) for what, name in found.files.items()}}


def text_of(found: Score, out: Path) -> str:
    """A score in a few lines.

    Args:
        found: The score.
        out: Folder of its result.

    Returns:
        The text.
    """
    name = found.biomarker["title"]
    return "\n".join([
        f"{name}: {found.score:.3f} ({found.category})",
        f"slide {found.slide['id']}, {sum(found.tiles.values())} tiles, {found.seconds:.1f} s",
        f"report: {out / found.files['report_html']}",
        found.notice,
    ])


def cohort(arguments: argparse.Namespace) -> Reply:
    """Score every slide of a manifest.

    Args:
        arguments: `manifest`, `biomarker`, `out`, `scheduler`, `workers`, `certs`, `gpu`.

    Returns:
        The reply; its status is 1 if a slide was not scored.
    """
    begin = time.perf_counter()
    needs = Needs(gpus=int(arguments.gpu))
    with pool_of(arguments) as pool, events() as show:
        found = score_cohort(arguments.manifest, arguments.biomarker, arguments.out, pool, show, needs=needs)
    seconds = round(time.perf_counter() - begin, 3)
    files = {"status_csv": str(arguments.out / "status.csv"), "scores_csv": str(arguments.out / "scores.csv")}
    document = {**found.to_json(), "biomarker": arguments.biomarker, "seconds": seconds, "files": files}
    counted = f"{found.count('scored')} of {len(found.outcomes)} slides scored in {seconds:.1f} s"
    text = "\n".join([counted, *files.values(), NOTICE])
    complaint = "" if found.ok else "some slides were not scored; the status table says which and why"
    scored = [(outcome.slide, outcome.score) for outcome in found.outcomes if outcome.score is not None]
    warnings = [f"{name}: {warning}" for name, made in scored for warning in made.warnings]
    return Reply(document, text, OK if found.ok else FAILED, complaint, warnings)
