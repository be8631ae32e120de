"""What holds for every request: headers on the way out, a log line without names, no error without an answer."""

from __future__ import annotations

import logging
import time
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import NOTICE
from api.errors import problem, problem_of
from api.problems import answer, log_failure

HEADERS: Final = {
    "X-Oncoscope-Notice": NOTICE,
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""Set on every response that does not say otherwise. Results are patient data: no cache may keep them."""
READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
JSON_BYTES: Final = 4 << 20
"""Longest body of a request that is not an upload: a cohort of ten thousand slides fits."""
UPLOADS: Final = frozenset({"/v1/slides"})
"""Paths that count the bytes of their body themselves."""

log = logging.getLogger("oncoscope.http")


class Guard:
    """Wraps the whole application.

    Args:
        app: The application.
        hosts: Names under which this service may be called; None takes any.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str] | None) -> None:
        """Keep what is wrapped."""
        self.app = app
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begin, answered = time.perf_counter(), Answered(send)
        try:
            await (self._refusal(scope) or self.app)(scope, _limited(scope, receive), answered.send)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer and the log its kind
            identity = log_failure(log, error)
            if answered.status == 0:
                await answer(problem_of(error, identity))(scope, receive, answered.send)
        took = 1000 * (time.perf_counter() - begin)
        log.info("%s %s %d %.0f ms", scope["method"], _route(scope), answered.status, took)

    def _refusal(self, scope: Scope) -> Response | None:
        """A page of another site, open in a browser here, must not reach a service without access control."""
        headers = Headers(scope=scope)
        if self.hosts is not None and _host(headers) not in self.hosts:
            return answer(problem(421, "misdirected-request", "this service does not have the name it was called by"))
        if scope["method"] not in READS and headers.get("sec-fetch-site") in {"cross-site", "same-site"}:
            return answer(problem(403, "forbidden", "pages of other sites may not use this service"))
        return None


class Answered:
    """Passes a response on, adds the headers that all have, and remembers its status.

    Args:
        send: Where the response goes.
    """

    def __init__(self, send: Send) -> None:
        """Nothing is answered yet."""
        self._send = send
        self.status = 0
        """HTTP status; 0 before the response has begun."""

    async def send(self, message: Message) -> None:
        """Pass one message on.

        Args:
            message: A message of ASGI.
        """
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(raw=message["headers"])
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            message["headers"] = headers.raw
        await self._send(message)


def _limited(scope: Scope, receive: Receive) -> Receive:
    """Stop reading a JSON body that is too long; an honest Content-Length is not even needed."""
    if scope["path"] in UPLOADS:
        return receive
    total = 0

    async def counted() -> Message:
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        if total > JSON_BYTES:
            raise HTTPException(413)
        return message

    return counted


def _host(headers: Headers) -> str:
    """The name by which the service was called, without the port."""
    host = headers.get("host", "")
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def _route(scope: Scope) -> str:
    """The pattern of the path, never the path itself: somebody may have put a name into it."""
    return str(getattr(scope.get("route"), "path", "(no route)"))
