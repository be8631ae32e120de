"""Fetch what a job made."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query
from fastapi.responses import FileResponse

from api.errors import ConflictError, NotFoundError, NotReadyError
from api.jobs import ACTIVE, Job
from api.schemas import JobId
from api.service import Service, ServiceOf

REPORT_POLICY: Final = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; sandbox"
)
"""The report is one file with its images and styles inside: it may load nothing, send nothing and run nothing."""
HTML: Final = {"Content-Security-Policy": REPORT_POLICY}

router = APIRouter(prefix="/v1/jobs/{identity}", tags=["results"], default_response_class=FileResponse)


@router.get("/score")
def score(identity: JobId, service: ServiceOf) -> FileResponse:
    """The score with its gates, measures and provenance, as JSON."""
    return send(service, identity, {"score": "report.json"}, "application/json")


@router.get("/report")
def report(identity: JobId, service: ServiceOf) -> FileResponse:
    """The report, one self-contained HTML page."""
    return send(service, identity, {"score": "report.html"}, "text/html; charset=utf-8", HTML)


@router.get("/heatmap")
def heatmap(identity: JobId, service: ServiceOf, prompt: Annotated[int, Query(ge=0, le=99)] = 0) -> FileResponse:
    """The heat map as PNG; of a question, that of the prompt with this number, counted from 0."""
    names = {"score": "heatmap.png", "ask": f"prompt-{prompt + 1}.png"}
    return send(service, identity, names, "image/png")


@router.get("/tiles.geojson")
def tiles(identity: JobId, service: ServiceOf, prompt: Annotated[int, Query(ge=0, le=99)] = 0) -> FileResponse:
    """The tiles as GeoJSON for QuPath; of a question, those of the prompt with this number, counted from 0."""
    names = {"score": "tiles.geojson", "ask": f"prompt-{prompt + 1}.geojson"}
    return send(service, identity, names, "application/geo+json")


@router.get("/scores.csv")
def scores(identity: JobId, service: ServiceOf) -> FileResponse:
    """The scores of a cohort, one row a slide that was scored."""
    return send(service, identity, {"cohort": "scores.csv"}, "text/csv; charset=utf-8")


@router.get("/status.csv")
def status(identity: JobId, service: ServiceOf) -> FileResponse:
    """How each slide of a cohort ended, and why."""
    return send(service, identity, {"cohort": "status.csv"}, "text/csv; charset=utf-8")


@router.get("/answer")
def answer(identity: JobId, service: ServiceOf) -> FileResponse:
    """The answer to a question, as JSON."""
    return send(service, identity, {"ask": "answer.json"}, "application/json")


def send(
    service: Service, identity: str, names: dict[str, str], media_type: str, headers: dict[str, str] | None = None
) -> FileResponse:
    """Send a file of a result.

    Args:
        service: The service.
        identity: The job's id.
        names: Kind of job to name of the file in its result.
        media_type: What the file is.
        headers: Further headers.

    Returns:
        The response.

    Raises:
        NotFoundError: If jobs of this kind have no such result.
    """
    job = service.jobs.get(identity)
    if job.kind not in names:
        raise NotFoundError(f"a job of kind {job.kind} has no such result")
    path = service.folder.result(result_of(job)) / names[job.kind]
    if not path.is_file():
        raise NotFoundError("the job has no such result")
    return FileResponse(path, media_type=media_type, headers=headers)


def result_of(job: Job) -> str:
    """The name of a job's result.

    Args:
        job: The job.

    Returns:
        The name of its folder.

    Raises:
        NotReadyError: If the job has not ended.
        ConflictError: If it ended without a result.
    """
    if job.state in ACTIVE:
        raise NotReadyError(f"the job is {job.state}; ask again when it has ended")
    if job.result is None:
        raise ConflictError(f"the job ended as {job.state.replace('_', ' ')} and has no result")
    return job.result
