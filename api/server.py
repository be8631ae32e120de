"""The HTTP server and its worker on one console."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn

from api.app import create_app
from api.errors import BadRequestError
from api.settings import Settings
from api.supervisor import WorkerProcess

BACKLOG = 128
GRACE_SECONDS = 5
"""How long open answers may take after a stop; uploads under way are cut off and leave nothing."""


class Server(uvicorn.Server):
    """A server that says when it can be reached.

    Args:
        config: What to serve, and how.
        ready: Called once.
    """

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        """Keep whom to tell."""
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, then say so.

        Args:
            sockets: The bound sockets.
        """
        await super().startup(sockets)
        self._ready()


def serve(settings: Settings, announce: Callable[[str], None], *, with_worker: bool = True) -> None:
    """Serve until a polite signal.

    Args:
        settings: Where, and what.
        announce: Called with the service's address when it can be reached.
        with_worker: Start a worker beside the server.
    """
    listener = _listen(settings)
    host, port = listener.getsockname()[:2]
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    config = uvicorn.Config(
        create_app(settings),
        log_config=None,
        access_log=False,  # ours names no paths
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = Server(config, lambda: announce(address))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(
            number, _stay
        )  # uvicorn sends the signal once more when it is done; the worker is to be stopped then
    with listener:
        if with_worker:
            with WorkerProcess(settings):
                server.run(sockets=[listener])
        else:
            server.run(sockets=[listener])


def _listen(settings: Settings) -> socket.socket:
    """A socket on the address of the settings.

    Raises:
        BadRequestError: If the address cannot be used.
    """
    try:
        return socket.create_server((settings.host, settings.port), backlog=BACKLOG, family=_family(settings.host))
    except OSError as error:
        raise BadRequestError(
            f"the service cannot listen on port {settings.port}: {error.strerror or 'no such host'}"
        ) from error


def _family(host: str) -> socket.AddressFamily:
    """IPv6 for addresses with colons."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _stay(_number: int, _frame: FrameType | None) -> None:
    """Do nothing."""
