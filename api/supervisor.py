"""Keeps a worker process running: starts it, starts it again when it ends, and takes it along when it ends itself."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from types import TracebackType
from typing import Final, Self

from api.settings import Settings
from api.worker import LIFELINE

SOON: Final = 5.0
"""A worker that ends within so many seconds cannot start; the next one waits."""
LONGEST_PAUSE: Final = 30.0
STOP_SECONDS: Final = 10.0

log = logging.getLogger("oncoscope.supervisor")


class WorkerProcess:
    """A worker that is started again whenever it ends, as long as the context is open.

    Args:
        settings: For the worker; they go through a pipe, so that no address of a database shows in a process list.
    """

    def __init__(self, settings: Settings) -> None:
        """Start nothing yet."""
        self._settings = settings
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self.watch, name="supervisor", daemon=True)

    def __enter__(self) -> Self:
        """Start the worker."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the worker; its job goes back to the queue."""
        self.stop()
        self._thread.join(STOP_SECONDS + 1)

    def watch(self) -> None:
        """Run one worker after the other until `stop` is called."""
        pause = 0.0
        while not self._stopping.wait(pause):
            begin = time.monotonic()
            status = self._run_one()
            if self._stopping.is_set():
                return
            pause = min(LONGEST_PAUSE, 2 * pause or 1.0) if time.monotonic() - begin < SOON else 0.0
            log.info("the worker ended with status %s; starting another", status)

    def stop(self) -> None:
        """Stop for good; a worker that does not leave when asked is killed."""
        self._stopping.set()
        with self._lock:
            process = self._process
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()

    def _run_one(self) -> int:
        """Start a worker and wait for its end."""
        command = [sys.executable, "-P", "-m", "api.worker", LIFELINE]
        with self._lock:
            if self._stopping.is_set():
                return 0
            process = self._process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, process_group=0)  # noqa: S603
        try:
            if process.stdin is not None:
                process.stdin.write(self._settings.model_dump_json() + "\n")
                process.stdin.flush()
        except (BrokenPipeError, ValueError):
            log.info("the worker ended before it had started")
        return process.wait()
