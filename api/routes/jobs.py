"""Ask for work, follow it, cancel it."""

from __future__ import annotations

import base64
from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Response

from api.asking import require_known
from api.errors import BadRequestError
from api.jobs import ACTIVE, Job, State
from api.problems import RETRY_SECONDS
from api.schemas import CohortRequest, JobDocument, JobId, JobPage, JobRequest
from api.service import ServiceOf
from biomarkers import load_card

RESULTS: Final = {
    "score": ("score", "report", "heatmap", "tiles.geojson"),
    "cohort": ("scores.csv", "status.csv"),
    "ask": ("answer", "heatmap", "tiles.geojson"),
}
"""What can be fetched of a job that succeeded, by its kind."""
LARGEST_SEQ: Final = 2**31 - 1
"""What an INTEGER column of any database holds."""
IdempotencyKey = Annotated[str | None, Header(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")]

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@router.post("", status_code=202)
def submit(
    order: JobRequest, response: Response, service: ServiceOf, idempotency_key: IdempotencyKey = None
) -> JobDocument:
    """Put a job into the queue; once this is answered the job survives any restart.

    Send an `Idempotency-Key` to be able to repeat the request safely: the same key and request give the same job.
    """
    service.slides.require({row.slide for row in order.slides} if isinstance(order, CohortRequest) else {order.slide})
    if order.kind == "ask":
        require_known(order.prompts)
    else:
        load_card(order.biomarker)
    request = order.model_dump(mode="json", exclude={"kind"})
    job, _ = service.jobs.submit(order.kind, request, idempotency_key)
    response.headers["Location"] = path_of(job)
    response.headers["Retry-After"] = RETRY_SECONDS
    return document_of(job)


@router.get("")
def page(
    service: ServiceOf,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=40)] = None,
    state: State | None = None,
) -> JobPage:
    """List jobs, the newest first; `next` leads to the following page."""
    found = service.jobs.page(limit + 1, None if cursor is None else from_cursor(cursor), state)
    shown = found[:limit]
    more = "" if state is None else f"&state={state}"
    following = f"/v1/jobs?limit={limit}&cursor={to_cursor(shown[-1].seq)}{more}" if len(found) > limit else None
    return JobPage(jobs=[document_of(job) for job in shown], next=following)


@router.get("/{identity}")
def read(identity: JobId, response: Response, service: ServiceOf) -> JobDocument:
    """Read how far a job is."""
    job = service.jobs.get(identity)
    if job.state in ACTIVE:
        response.headers["Retry-After"] = RETRY_SECONDS
    return document_of(job)


@router.post("/{identity}/cancel")
def cancel(identity: JobId, service: ServiceOf) -> JobDocument:
    """Cancel a job that has not ended. A running one stops at its worker's next heartbeat and leaves no result."""
    return document_of(service.jobs.cancel(identity))


def path_of(job: Job) -> str:
    """Path of a job."""
    return f"/v1/jobs/{job.id}"


def document_of(job: Job) -> JobDocument:
    """A job with the paths of what can be done with it now.

    Args:
        job: The job.

    Returns:
        The document.
    """
    links = {"self": path_of(job)}
    if job.state in ACTIVE:
        links["cancel"] = f"{path_of(job)}/cancel"
    if job.state == "succeeded":
        links |= {name: f"{path_of(job)}/{name}" for name in RESULTS[job.kind]}
    return JobDocument.of(job, links)


def to_cursor(seq: int) -> str:
    """A place in the list of jobs as clients see it: opaque, so that its meaning may change."""
    return base64.urlsafe_b64encode(f"j{seq}".encode()).decode().rstrip("=")


def from_cursor(cursor: str) -> int:
    """Read a cursor.

    Args:
        cursor: What `to_cursor` made.

    Returns:
        The sequence number.

    Raises:
        BadRequestError: If it is not one.
    """
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        seq = int(text.removeprefix("j"))
    except ValueError:
        seq = -1
    if not 0 <= seq <= LARGEST_SEQ:
        raise BadRequestError("the cursor is not one that this service made")
    return seq
