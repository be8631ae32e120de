"""Upload a slide, and read what is known of it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import shutil
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect

from api.errors import BadRequestError, ChecksumError, TooLargeError
from api.schemas import SlideDocument, SlideId
from api.service import ServiceOf

BLOCK: Final = 4 << 20
"""Bytes gathered before they are hashed and written: few turns of the thread pool, little memory a client."""
BODY: Final = {"requestBody": {"required": True, "content": {"application/octet-stream": {}}}}

router = APIRouter(prefix="/v1/slides", tags=["slides"])


@router.post("", status_code=201, openapi_extra=BODY)
async def upload(request: Request, response: Response, service: ServiceOf) -> SlideDocument:
    """Take a slide file as the raw body of the request.

    The digest may be announced in `Content-Digest: sha-256=:<base64>:` (RFC 9530) or `X-Content-SHA256: <hex>`. A file
    that is no slide is refused with the reason; nothing of it is kept. Names of files are neither needed nor stored.
    """
    announced = announced_sha256(request.headers)
    refuse_length(request.headers, service.settings.max_upload_bytes)
    incoming = await run_in_threadpool(service.folder.new_incoming)
    try:
        sha256 = await receive(request, incoming / "upload", service.settings.max_upload_bytes, announced)
        record = await run_in_threadpool(service.slides.accept, incoming, sha256)
    finally:
        await run_in_threadpool(shutil.rmtree, incoming, ignore_errors=True)
    response.headers["Location"] = f"/v1/slides/{record.id}"
    return SlideDocument.of(record)


@router.get("/{identity}")
def read(identity: SlideId, service: ServiceOf) -> SlideDocument:
    """Read what is known of a slide."""
    return SlideDocument.of(service.slides.get(identity))


async def receive(request: Request, file: Path, limit: int, announced: str | None) -> str:
    """Stream a body to a file.

    Args:
        request: The request.
        file: The file to make.
        limit: Largest size in bytes.
        announced: SHA-256 that the body must have, 64 hex digits, or None.

    Returns:
        SHA-256 of the body, 64 hex digits.

    Raises:
        TooLargeError: If the body is longer than the limit.
        BadRequestError: If the client went away, or sent nothing.
        ChecksumError: If the body does not have the announced digest.
    """
    digest, total, block = hashlib.sha256(), 0, bytearray()
    with file.open("xb") as stream:

        def flush() -> None:
            digest.update(block)
            stream.write(block)
            block.clear()

        try:
            async for chunk in request.stream():
                total += len(chunk)
                if total > limit:
                    raise TooLargeError(f"the upload is larger than the {limit} bytes that this service takes")
                block += chunk
                if len(block) >= BLOCK:
                    await run_in_threadpool(flush)
        except ClientDisconnect:
            raise BadRequestError("the client went away before the upload was complete") from None
        await run_in_threadpool(flush)
    if total == 0:
        raise BadRequestError("the request has no body; send the slide's bytes as the body")
    if announced not in {None, digest.hexdigest()}:
        raise ChecksumError("the bytes that arrived do not have the announced digest; send the file again")
    return digest.hexdigest()


def refuse_length(headers: Headers, limit: int) -> None:
    """Refuse an upload by its announced length, before a byte of it is read.

    Args:
        headers: Headers of the request.
        limit: Largest size in bytes.

    Raises:
        TooLargeError: If the announced length is above the limit.
    """
    length = headers.get("content-length", "0")
    if length.isdigit() and int(length) > limit:
        raise TooLargeError(f"the upload is larger than the {limit} bytes that this service takes")


def announced_sha256(headers: Headers) -> str | None:
    """The digest that the client announced.

    Args:
        headers: Headers of the request.

    Returns:
        64 hex digits, or None if there is none.

    Raises:
        BadRequestError: If a digest is there but cannot be understood.
    """
    plain = headers.get("x-content-sha256", "").strip().lower()
    fields = [field.strip() for field in headers.get("content-digest", "").split(",")]
    coded = next((field.split("=", 1)[1] for field in fields if field.lower().startswith("sha-256=")), "")
    try:
        digest = bytes.fromhex(plain) or base64.b64decode(coded.strip(":"), validate=True)
    except (ValueError, binascii.Error):
        digest = b"?"
    if len(digest) not in {0, hashlib.sha256().digest_size}:
        raise BadRequestError("the announced digest is not a SHA-256 digest")
    return digest.hex() or None
