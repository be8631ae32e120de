"""Every error leaves the service as a problem document (RFC 9457) that names no file, path or address."""

from __future__ import annotations

import logging
import secrets
import traceback
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from api.errors import SERVER_FAULT, STATUS, NotReadyError, problem, problem_of, status_of

MEDIA_TYPE: Final = "application/problem+json"
RETRY_SECONDS: Final = "1"
CODES: Final = {
    400: "bad-request",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    413: "too-large",
    415: "unsupported-media-type",
    421: "misdirected-request",
    422: "invalid-request",
}
"""Codes of errors that the framework finds by itself."""
DETAILS: Final = {
    404: "there is nothing at this address",
    405: "this address does not take this method",
    413: "the body of the request is larger than this address takes",
}

log = logging.getLogger("oncoscope.http")


def add_problem_handlers(app: FastAPI) -> None:
    """Answer every error of ours and of the framework with a problem document.

    Args:
        app: The application.
    """
    for kind in STATUS:
        app.add_exception_handler(kind, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _framework)


def answer(document: dict[str, Any], headers: dict[str, str] | None = None) -> JSONResponse:
    """Send a problem document.

    Args:
        document: What `api.errors.problem` made.
        headers: Further headers.

    Returns:
        The response.
    """
    return JSONResponse(document, document["status"], headers, MEDIA_TYPE)


def log_failure(logger: logging.Logger, error: BaseException) -> str:
    """Write an unexpected error to the log: its kind and where it was raised, not its text, which may name a patient.

    Args:
        logger: Where to.
        error: The error.

    Returns:
        The id that finds the entry.
    """
    identity = secrets.token_hex(8)
    frames = [f"{frame.name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
    logger.error("%s %s at %s", identity, type(error).__name__, " > ".join(frames))
    return identity


async def _known(_request: Request, error: Exception) -> JSONResponse:
    """An error of our packages."""
    status = status_of(error)
    document = problem_of(error, log_failure(log, error) if status >= SERVER_FAULT else None)
    waits = status == 503 or isinstance(error, NotReadyError)
    return answer(document, {"Retry-After": RETRY_SECONDS} if waits else None)


async def _invalid(_request: Request, error: Exception) -> JSONResponse:
    """A request that does not fit the schema. What the client sent is not repeated."""
    document = problem(422, CODES[422], "the request does not fit the schema; see errors")
    found = error.errors() if isinstance(error, RequestValidationError) else ()
    document["errors"] = [{"at": list(item["loc"]), "code": item["type"], "detail": _words(item)} for item in found]
    return answer(document)


def _words(item: dict[str, Any]) -> str:
    """What is wrong with a member; the one text that would repeat what was sent is replaced."""
    return "not a known kind" if item["type"] == "union_tag_invalid" else str(item["msg"])


async def _framework(_request: Request, error: Exception) -> JSONResponse:
    """A path, method or body that no route takes."""
    status = error.status_code if isinstance(error, HTTPException) else SERVER_FAULT
    headers = dict(getattr(error, "headers", None) or {})
    code = CODES.get(status, "http-error")
    return answer(problem(status, code, DETAILS.get(status, "the request cannot be answered")), headers)
