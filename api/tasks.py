"""What a worker does for each kind of job, with the packages below, and how their errors end it."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from api.asking import ask_slide
from api.errors import ChecksumError, DatabaseError, is_known, problem_of
from api.jobs import Job, Outcome
from api.progress import JobProgress
from api.service import Service
from api.uploads import SlideRecord
from biomarkers import score, score_cohort
from slides import MissingMppError
from tiling import NoSpaceError, NotEvaluableError, PoolError, staged

NOT_EVALUABLE: Final = (NotEvaluableError, MissingMppError)
"""The slide is what it is; trying again gives the same answer."""
TRANSIENT: Final = (OSError, MemoryError, NoSpaceError, PoolError, DatabaseError)
"""May pass: the job is tried again."""
COHORT_RESULTS: Final = ("scores.csv", "status.csv", "slides")
Task = Callable[[Service, Job, Path, JobProgress], dict[str, Any]]
"""Does a job in a folder, says how far it is and gives a short summary of its result."""


def perform(service: Service, job: Job) -> Outcome:
    """Do a job. Its result is committed to the results, whole or not at all; whether it counts is the caller's to say.

    Args:
        service: The open data folder and database.
        job: A claimed job.

    Returns:
        How it ended. Errors that are not about the job are raised: those of `TRANSIENT`, and those that are not ours.
    """
    work = service.folder.work(job)
    try:
        work.mkdir(mode=0o700, exist_ok=True)
        told = JobProgress(service.jobs, job)
        summary = TASKS[job.kind](service, job, work, told)
        told.flush()
        result = service.folder.new_result(job)
        with staged(result, kind="oncoscope-job", job=job.id) as staging:
            publish(job, work, staging)
        return Outcome("succeeded", result.name, summary)
    except NOT_EVALUABLE as error:
        return Outcome("not_evaluable", problem=problem_of(error))
    except Exception as error:
        if isinstance(error, TRANSIENT) or not is_known(error):
            raise
        return Outcome("failed", problem=problem_of(error))


def publish(job: Job, work: Path, staging: Path) -> None:
    """Take the files of a result out of the folder it was made in.

    Args:
        job: The job.
        work: Where it was done.
        staging: Where the result is put together.
    """
    for path in work.iterdir():
        if job.kind == "cohort" and path.name not in COHORT_RESULTS:
            continue
        if path.is_dir():
            shutil.copytree(path, staging / path.name)
        else:
            shutil.copy2(path, staging / path.name)


def do_score(service: Service, job: Job, work: Path, told: JobProgress) -> dict[str, Any]:
    """Score one slide.

    Args:
        service: The open data folder and database.
        job: The job.
        work: Where to write.
        told: Is told how far the work is.

    Returns:
        `score`, `category`, `biomarker`, `seconds`, `content_hash`.
    """
    record = service.slides.get(job.request["slide"])
    address = service.slides.address(record, job.request["mpp0"])
    how: Any = {"slide_id": record.id, "stages": service.folder.stages, "tiled": told.tiling}
    found = score(address, job.request["biomarker"], work, progress=told.embedding, **how)
    require_unchanged(record, found.slide["content_hash"])
    return {
        "score": found.score,
        "category": found.category,
        "biomarker": dict(found.biomarker),
        "seconds": found.seconds,
        "content_hash": found.slide["content_hash"],
    }


def do_cohort(service: Service, job: Job, work: Path, told: JobProgress) -> dict[str, Any]:
    """Score many slides.

    Args:
        service: The open data folder and database.
        job: The job.
        work: Where to write.
        told: Is told how far the work is.

    Returns:
        `slides` and how many of them ended in each state.
    """
    stages = work / "stages"
    if not stages.is_symlink():
        stages.symlink_to(service.folder.stages)
    manifest = work / "manifest.csv"
    write_manifest(manifest, service, job.request["slides"])
    found = score_cohort(manifest, job.request["biomarker"], work, progress=told.scoring, jail=service.slides.jail)
    for row, outcome in zip(job.request["slides"], found.outcomes, strict=True):
        if outcome.score is not None:
            require_unchanged(service.slides.get(row["slide"]), outcome.score.slide["content_hash"])
    return {key: value for key, value in found.to_json().items() if key != "files"}


def do_ask(service: Service, job: Job, work: Path, told: JobProgress) -> dict[str, Any]:
    """Ask a slide with words.

    Args:
        service: The open data folder and database.
        job: The job.
        work: Where to write.
        told: Is told how far the work is.

    Returns:
        `prompts` with their slide-level scores, `closed_vocabulary`, `content_hash`.
    """
    record = service.slides.get(job.request["slide"])
    address = service.slides.address(record, job.request["mpp0"])
    how: Any = {"stages": service.folder.stages, "progress": told.embedding, "tiled": told.tiling}
    document = ask_slide(address, job.request["prompts"], work, **how)
    require_unchanged(record, document["slide"]["content_hash"])
    kept = ("prompts", "closed_vocabulary", "seconds")
    return {key: document[key] for key in kept} | {"content_hash": document["slide"]["content_hash"]}


TASKS: Final[Mapping[str, Task]] = {"score": do_score, "cohort": do_cohort, "ask": do_ask}


def write_manifest(path: Path, service: Service, rows: list[dict[str, Any]]) -> None:
    """Write the manifest of a cohort job; its addresses never leave the work folder.

    Args:
        path: The file to write.
        service: The open data folder and database.
        rows: `slide`, `patient` and `mpp0` of each slide.
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["slide", "path", "patient", "mpp0"])
        for row in rows:
            record = service.slides.get(row["slide"])
            table.writerow([record.id, service.slides.path(record), row["patient"] or "", row["mpp0"] or ""])


def require_unchanged(record: SlideRecord, content_hash: object) -> None:
    """Refuse a result about other pixels than those that were uploaded.

    Args:
        record: The slide's row.
        content_hash: Hash of the pixels that were read.

    Raises:
        ChecksumError: If they differ.
    """
    if content_hash != record.info["content_hash"]:
        raise ChecksumError("the slide's file is no longer the one that was uploaded; upload it again")
