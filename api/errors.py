"""Errors of the service, and which HTTP status every error of every package has.

::

    ApiError
    ├── BadRequestError      the request contradicts itself or the protocol
    ├── NotFoundError        no such slide, job or result
    ├── ConflictError        not possible in the job's present state
    │   ├── NotReadyError        the result is still to come
    │   └── KeyReusedError       an idempotency key was used for another request
    ├── TooLargeError        the upload is larger than the service takes
    ├── ChecksumError        the bytes that arrived are not those that were announced
    ├── UploadError          the upload is not a slide that can be used
    ├── UnknownSlideError    a job names a slide that was never uploaded
    ├── DatabaseError        the job database cannot be used
    ├── LeaseLostError       this worker no longer holds the job
    ├── WorkerLostError      every worker that tried the job stopped unexpectedly
    └── SampleError          the demonstration slide cannot be had

Packages below know nothing of HTTP. A class has the status of its nearest base in `STATUS`.
"""

from __future__ import annotations

import re
from typing import Any, Final

from api import NOTICE
from biomarkers.errors import BiomarkerError, CardError, GateError, ManifestError, UnknownBiomarkerError
from foundation.errors import (
    DeviceError,
    FoundationError,
    InterchangeError,
    LicenceError,
    MissingWeightsError,
    PromptError,
    QueryError,
    UnknownEncoderError,
    UnsupportedEncoderError,
)
from mil.errors import MilError
from slides.errors import SlideError, SlideNotFoundError
from tiling.errors import (
    NoSpaceError,
    NotEvaluableError,
    PoolError,
    RemoteStoreError,
    SegmenterError,
    SpecError,
    TilingError,
    WorkerKilledError,
)


class ApiError(Exception):
    """Base of every error of the service."""


class BadRequestError(ApiError):
    """The request contradicts itself or the protocol."""


class NotFoundError(ApiError):
    """There is no such slide, job or result."""


class ConflictError(ApiError):
    """Not possible in the job's present state."""


class NotReadyError(ConflictError):
    """The result is still to come."""


class KeyReusedError(ConflictError):
    """An idempotency key was used for another request before."""


class TooLargeError(ApiError):
    """The upload is larger than the service takes."""


class ChecksumError(ApiError):
    """The bytes that arrived are not those that were announced."""


class UploadError(ApiError):
    """The upload is not a slide that can be used."""


class UnknownSlideError(ApiError):
    """A job names a slide that was never uploaded."""


class DatabaseError(ApiError):
    """The job database cannot be used."""


class LeaseLostError(ApiError):
    """This worker no longer holds the job."""


class WorkerLostError(ApiError):
    """Every worker that tried the job stopped unexpectedly."""


class SampleError(ApiError):
    """The demonstration slide cannot be had."""


STATUS: Final[dict[type[Exception], int]] = {
    ApiError: 500,
    BadRequestError: 400,
    NotFoundError: 404,
    ConflictError: 409,
    TooLargeError: 413,
    ChecksumError: 422,
    UploadError: 422,
    UnknownSlideError: 422,
    DatabaseError: 503,
    SlideError: 422,
    SlideNotFoundError: 404,
    TilingError: 500,
    NotEvaluableError: 422,
    SpecError: 422,
    SegmenterError: 422,
    NoSpaceError: 507,
    RemoteStoreError: 503,
    PoolError: 503,
    WorkerKilledError: 500,
    FoundationError: 500,
    UnknownEncoderError: 422,
    InterchangeError: 422,
    PromptError: 422,
    QueryError: 422,
    MissingWeightsError: 503,
    UnsupportedEncoderError: 501,
    LicenceError: 403,
    DeviceError: 503,
    MilError: 500,
    BiomarkerError: 500,
    UnknownBiomarkerError: 422,
    ManifestError: 422,
    GateError: 422,
    CardError: 500,
}
"""HTTP status of an error class and of all classes below it that are not named themselves."""

SERVER_FAULT: Final = 500
HIDDEN: Final = "something went wrong inside the service"
LOGGED: Final = f"{HIDDEN}; the id of this problem finds it in the log"
PRIVATE: Final = re.compile(r"(^|[\s'\"(=])(/|~/|[A-Za-z]:\\|\w+://)\S")
"""What looks like a path or an address inside a sentence."""


def is_known(error: BaseException) -> bool:
    """Whether the error is one of ours: its message was written to be shown.

    Args:
        error: Any error.

    Returns:
        True for the error trees of the six packages.
    """
    return any(base in STATUS for base in type(error).__mro__)


def status_of(error: BaseException) -> int:
    """HTTP status of an error, by its nearest base in `STATUS`.

    Args:
        error: Any error.

    Returns:
        The status; 500 for an error that is not ours.
    """
    return next((STATUS[base] for base in type(error).__mro__ if base in STATUS), SERVER_FAULT)


def code_of(error: BaseException) -> str:
    """A stable name of an error for machines.

    Args:
        error: Any error.

    Returns:
        The class name in words joined by hyphens, without "Error": `not-a-slide`; `internal` for one that is not ours.
    """
    if not is_known(error):
        return "internal"
    name = type(error).__name__.removesuffix("Error")
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name).lower()


def safe_detail(error: BaseException) -> str:
    """What a client may read about an error: never a path, a file name or the text of a foreign error.

    Args:
        error: Any error.

    Returns:
        One sentence.
    """
    detail = str(error)
    if isinstance(error, PromptError) and detail:  # repeats the client's own words, in which a slash is no path
        return detail
    return detail if is_known(error) and detail and not PRIVATE.search(detail) else HIDDEN


def problem_of(error: BaseException, identity: str | None = None) -> dict[str, Any]:
    """An error as a problem document.

    Args:
        error: Any error.
        identity: What finds the error in the log.

    Returns:
        The members of RFC 9457 (`type`, `title`, `status`, `detail`), `code`, `notice` and, if given, `id`.
    """
    detail = safe_detail(error)
    if identity is not None and detail == HIDDEN:
        detail = LOGGED
    return problem(status_of(error), code_of(error), detail, identity)


def problem(status: int, code: str, detail: str, identity: str | None = None) -> dict[str, Any]:
    """A problem document.

    Args:
        status: HTTP status.
        code: Stable name of the problem, words joined by hyphens.
        detail: One sentence for the reader.
        identity: What finds the problem in the log.

    Returns:
        The document, as `problem_of` says.
    """
    document = {
        "type": f"urn:oncoscope:problem:{code}",
        "title": code.replace("-", " ").capitalize(),
        "status": status,
        "detail": detail,
        "code": code,
        "notice": NOTICE,
    }
    return document if identity is None else {**document, "id": identity}
