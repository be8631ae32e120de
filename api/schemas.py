"""The documents of the HTTP interface. Requests refuse what they do not know; every answer says what it is not for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator
from pydantic_core import PydanticCustomError

from api import NOTICE
from api.jobs import Job, State
from api.progress import Stage
from api.uploads import SlideRecord

SlideId = Annotated[str, StringConstraints(pattern=r"^slide-[0-9a-f]{24}$")]
JobId = Annotated[str, StringConstraints(pattern=r"^job-[0-9a-f]{24}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=80)]
Scale = Annotated[float | None, Field(ge=0.01, le=100.0, allow_inf_nan=False, description="level-0 scale in um/px")]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Pseudonym = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class Strict(BaseModel):
    """Base of all requests: unknown members are errors, so that a misspelled option is never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ScoreRequest(Strict):
    """Score one slide."""

    kind: Literal["score"]
    slide: SlideId
    biomarker: Name
    mpp0: Scale = None


class CohortSlide(Strict):
    """One row of a cohort."""

    slide: SlideId
    patient: Pseudonym | None = None
    mpp0: Scale = None


class CohortRequest(Strict):
    """Score many slides; those that cannot be scored do not harm the others."""

    kind: Literal["cohort"]
    biomarker: Name
    slides: Annotated[tuple[CohortSlide, ...], Field(min_length=1, max_length=10_000)]

    @field_validator("slides")
    @classmethod
    def _each_once(cls, slides: tuple[CohortSlide, ...]) -> tuple[CohortSlide, ...]:
        if len({row.slide for row in slides}) != len(slides):
            raise PydanticCustomError("slide_twice", "a slide is named twice")
        return slides


class AskRequest(Strict):
    """Ask a slide with words."""

    kind: Literal["ask"]
    slide: SlideId
    prompts: Annotated[tuple[Text, ...], Field(min_length=1, max_length=16)]
    mpp0: Scale = None


JobRequest = Annotated[ScoreRequest | CohortRequest | AskRequest, Field(discriminator="kind")]


class Document(BaseModel):
    """Base of all answers."""

    notice: str = NOTICE


class Problem(Document):
    """What went wrong (RFC 9457); `code` is stable, `id` finds the problem in the log."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    id: str | None = None
    errors: list[dict[str, Any]] | None = None


class SlideDocument(Document):
    """An uploaded slide. `id` names it in jobs; the name of the file that was sent is not kept."""

    id: str
    bytes: int
    sha256: str
    created: datetime
    info: dict[str, Any]

    @classmethod
    def of(cls, slide: SlideRecord) -> SlideDocument:
        """Describe a slide.

        Args:
            slide: The slide's row.

        Returns:
            The document.
        """
        return cls(id=slide.id, bytes=slide.bytes, sha256=slide.sha256, created=moment(slide.created), info=slide.info)


class ProgressDocument(BaseModel):
    """How far a job is, about once a second; `eta_s` counts to the end of the stage."""

    stage: Stage
    slides_done: int
    slides: int
    tiles_done: int
    tiles: int
    seconds: float
    tiles_per_s: float | None
    eta_s: float | None


class JobDocument(Document):
    """A job: what was asked for, how far it is, how it ended, and where its results are."""

    id: str
    kind: str
    state: State
    attempts: int
    created: datetime
    started: datetime | None
    finished: datetime | None
    request: dict[str, Any]
    progress: ProgressDocument | None
    summary: dict[str, Any] | None
    problem: Problem | None
    links: dict[str, str]

    @classmethod
    def of(cls, job: Job, links: dict[str, str]) -> JobDocument:
        """Describe a job.

        Args:
            job: The job's row.
            links: Name of a resource to its path.

        Returns:
            The document.
        """
        return cls(
            id=job.id,
            kind=job.kind,
            state=job.state,
            attempts=job.attempts,
            created=moment(job.created),
            started=None if job.started is None else moment(job.started),
            finished=None if job.finished is None else moment(job.finished),
            request=job.request,
            progress=None if job.progress is None else ProgressDocument.model_validate(job.progress),
            summary=job.summary,
            problem=None if job.problem is None else Problem.model_validate(job.problem),
            links=links,
        )


class JobPage(Document):
    """Some jobs, the newest first; `next` is the path of the following page, if there is one."""

    jobs: list[JobDocument]
    next: str | None


class Health(Document):
    """Whether the service can take work."""

    status: Literal["ok"] = "ok"
    version: str
    jobs: dict[str, int]


class Biomarkers(Document):
    """The biomarkers that slides can be scored by."""

    biomarkers: list[dict[str, Any]]


class Encoders(Document):
    """The encoders that are known by name."""

    encoders: list[dict[str, Any]]


def moment(seconds: float) -> datetime:
    """A time of the database as a time with its zone.

    Args:
        seconds: Seconds since 1970 UTC.

    Returns:
        The moment, in UTC.
    """
    return datetime.fromtimestamp(seconds, UTC)
