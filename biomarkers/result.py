"""A result on disk, whole or absent: `report.json` comes last, and all that it names stands beside it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, cast

from biomarkers.errors import FolderInUseError, ResultError
from biomarkers.score import Score
from tiling.commit import sync
from tiling.fingerprint import fingerprint

FORMAT: Final = "oncoscope-result-1"
FILES: Final[Mapping[str, str]] = {
    "report_json": "report.json",
    "report_html": "report.html",
    "tiles_geojson": "tiles.geojson",
    "heatmap_png": "heatmap.png",
    "classes_png": "classes.png",
    "thumbnail_png": "thumbnail.png",
}
"""What -> file name."""
REPORT: Final = FILES["report_json"]
ENVELOPE: Final = frozenset({"format", "sha256", "self"})
"""Keys of `report.json` beside those of the score: format, checksums of the other files, checksum of the rest."""
STAGING: Final = ".result.staging"
ABANDONED_S: Final = 600.0
"""Seconds after which a staging folder belongs to no living process: writing a result takes about one."""


@contextmanager
def staged_result(out: Path) -> Iterator[Path]:
    """Write the files of a result aside, then move them into place, `report.json` last.

    Args:
        out: Folder of the result.

    Yields:
        The folder to write into; `write_report_json` must be the last thing written there.
    """
    _sweep(out)
    staging = out / f"{STAGING}-{os.getpid()}-{os.urandom(4).hex()}"
    staging.mkdir(parents=True)
    try:
        yield staging
        discard(out)
        for path in sorted(staging.iterdir(), key=lambda path: path.name == REPORT):
            sync(path)
            if path.name == REPORT:
                sync(out)
            path.replace(out / path.name)
        sync(out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _sweep(out: Path) -> None:
    """Remove what a killed process left; what a process of now is writing is younger."""
    for path in out.glob(f"{STAGING}-*"):
        if time.time() - path.stat().st_mtime > ABANDONED_S:
            shutil.rmtree(path, ignore_errors=True)


def write_report_json(folder: Path, score: Score) -> None:
    """Write `report.json`: the score, and the checksum of every other file of the folder.

    Args:
        folder: The folder that holds the other files already.
        score: The score.
    """
    checksums = {path.name: _sha256(path) for path in sorted(folder.iterdir()) if path.name != REPORT}
    document: dict[str, object] = {"format": FORMAT, **score.to_json(), "sha256": checksums}
    document["self"] = fingerprint(**document)
    (folder / REPORT).write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_result(out: Path) -> Score:
    """Read a result.

    Args:
        out: Folder of the result.

    Returns:
        The score.

    Raises:
        ResultError: If there is no result, or it is damaged.
    """
    document = _document(out)
    damaged = _damaged(out, document)
    if damaged:
        raise ResultError(f"the stored result is damaged: {', '.join(damaged)}")
    return Score.from_json({key: value for key, value in document.items() if key not in ENVELOPE})


def stored_score(out: Path, request: str) -> Score | None:
    """The result of an earlier run of the same request, if it stands there whole.

    Args:
        out: Folder of the result.
        request: Fingerprint of what is asked for.

    Returns:
        The score, or None.
    """
    try:
        score = read_result(out)
    except ResultError:
        return None
    return score if score.provenance.get("request") == request else None


def verify_result(out: Path) -> list[str]:
    """Check every file of a result against its checksum.

    Args:
        out: Folder of the result.

    Returns:
        Names of files that are missing or altered; empty when all is well.
    """
    return _damaged(out, _document(out))


def make_room(out: Path, content_hash: str, slide_id: str | None = None) -> None:
    """Remove an earlier result of the same slide, so that it does not stand there as the answer to another request.

    Args:
        out: Folder of the result.
        content_hash: Of the slide that will be scored.
        slide_id: What the researcher calls it; a slide of that name may have been scanned again.

    Raises:
        FolderInUseError: If the result there is of another slide; it is left alone.
    """
    try:
        slide = _document(out).get("slide")
    except ResultError:
        return
    known = slide if isinstance(slide, dict) else {}
    same_name = slide_id is not None and known.get("id") == slide_id
    if known.get("content_hash") != content_hash and not same_name:
        raise FolderInUseError("this folder holds the result of another slide; choose another --out")
    discard(out)


def discard(out: Path) -> None:
    """Remove an earlier result of ours, `report.json` first; other files are left alone.

    Args:
        out: Folder of the result.
    """
    try:
        _document(out)
    except ResultError:
        return
    for name in FILES.values():  # report.json is the first of them
        (out / name).unlink(missing_ok=True)


def _document(out: Path) -> dict[str, object]:
    """The parsed report.json.

    Raises:
        ResultError: If it is missing or not one of ours.
    """
    try:
        document = json.loads((out / REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ResultError("there is no stored result that can be read") from error
    if (
        not isinstance(document, dict)
        or document.get("format") != FORMAT
        or not isinstance(document.get("sha256"), dict)
    ):
        raise ResultError("the stored result is damaged or of another format")
    return document


def _damaged(out: Path, document: Mapping[str, object]) -> list[str]:
    """Names of altered files; one that is not a file of a result is never opened."""
    if document.get("self") != fingerprint(**{key: value for key, value in document.items() if key != "self"}):
        return [REPORT]
    checksums = cast("Mapping[str, str]", document["sha256"])
    return [name for name, digest in checksums.items() if name not in FILES.values() or _sha256(out / name) != digest]


def _sha256(path: Path) -> str | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
