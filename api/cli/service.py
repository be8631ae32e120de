"""`serve` and `worker`: run until they are stopped."""

from __future__ import annotations

import argparse
import signal
from typing import Any, Final

from api import NOTICE
from api.cli.reply import Reply, write_reply
from api.logs import start_logging
from api.network import is_loopback
from api.settings import Settings

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
OPEN: Final = "warning: other machines can reach the service, and it has no access control"


def serve(arguments: argparse.Namespace) -> Reply:
    """Serve over HTTP.

    Args:
        arguments: `host`, `port`, `data`, `no_worker`, `json`.

    Returns:
        An empty reply, when the service has stopped; that it can be reached is said before.
    """
    from api.server import serve as run

    settings = settings_of(arguments)
    start_logging()

    def announce(address: str) -> None:
        document = {"url": address, "data": str(settings.data_dir), "worker": not arguments.no_worker}
        text = f"oncoscope serves at {address} ({NOTICE})"
        complaint = "" if is_loopback(settings.host) else OPEN
        write_reply(Reply(document, text, complaint=complaint), as_json=arguments.json)

    run(settings, announce, with_worker=not arguments.no_worker)
    return Reply()


def worker(arguments: argparse.Namespace) -> Reply:
    """Take jobs of a service and do them.

    Args:
        arguments: `data`.

    Returns:
        The reply, when the worker was stopped.
    """
    from api.supervisor import WorkerProcess

    settings = settings_of(arguments)
    start_logging()
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    with WorkerProcess(settings):
        signal.sigwait(STOP_SIGNALS)
    return Reply({"state": "stopped"}, "the worker has stopped")


def settings_of(arguments: argparse.Namespace) -> Settings:
    """The settings of the environment, with those of the command line above them.

    Args:
        arguments: May have `host`, `port`, `data`.

    Returns:
        The settings.
    """
    names = {"host": "host", "port": "port", "data": "data_dir"}
    given: dict[str, Any] = {field: getattr(arguments, name, None) for name, field in names.items()}
    return Settings(**{field: value for field, value in given.items() if value is not None})
