"""The parent's side of the zygote: one for each process, started on first use, ended with it."""

from __future__ import annotations

import atexit
import errno
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final

from slides.errors import SlideError
from slides.jail import wire

START_SECONDS: Final = 60.0
"""Importing every reader on a machine that is busy with other things."""
ANSWER_SECONDS: Final = 30.0
ROOT: Final = Path(__file__).resolve().parents[2]
QUIET: Final = {
    "LANG": "C.UTF-8",
    "PYTHONPATH": str(ROOT),
    "PYTHONDONTWRITEBYTECODE": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "4",
}
"""The whole environment of the zygote and its children: no secrets, no threads of numeric libraries."""
BROKEN: Final = (OSError, EOFError, ValueError)
EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ENOSPC)


def unavailable(error: Exception) -> str:
    """What to tell where no child can be started.

    Args:
        error: Why.

    Returns:
        A sentence.
    """
    if isinstance(error, OSError) and error.errno in EXHAUSTED:
        return "this machine has no memory, no processes or no open files left to isolate a slide"
    return "the process that isolates slides cannot be started, or has ended"


class Zygote:
    """The running ancestor of this process's children."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.peak_rss_bytes = 0
        """The most memory that a child had resident, of those that are buried."""
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = _start_process(theirs.fileno())
            self.layers: dict[str, int] = wire.receive(self._connection, START_SECONDS)["layers"]
        except BaseException:
            self.close()
            raise

    @property
    def alive(self) -> bool:
        """Whether it still serves this process; a fork of this process needs one of its own."""
        return self.owner == os.getpid() and self._process is not None and self._process.poll() is None

    def fork(self, order: wire.Message, handles: list[int]) -> int:
        """Start a child.

        Args:
            order: What it should open.
            handles: Open files to pass: its connections, then its shared memory.

        Returns:
            The child's process number.
        """
        return int(self._ask({"do": "fork", **order}, handles)["process"])

    def bury(self, process: int) -> wire.Message:
        """End a child.

        Args:
            process: What `fork` gave; not to be used any more.

        Returns:
            `exit` (a status, or minus a signal), `rss_bytes` at most, `seconds` of processor time.
        """
        end = self._ask({"do": "bury", "process": process}, [])
        self.peak_rss_bytes = max(self.peak_rss_bytes, int(end["rss_bytes"]))
        return end

    def _ask(self, request: wire.Message, handles: list[int]) -> wire.Message:
        """Ask the zygote. One that does not answer is given up: its answer would be taken for the next one."""
        with self._lock:
            try:
                wire.send(self._connection, request)
                if handles:
                    wire.send_handles(self._connection, handles)
                return wire.receive(self._connection, ANSWER_SECONDS)
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """End it, and with it all its children."""
        self._connection.close()
        if self._process is None:
            return
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _start_process(handle: int) -> subprocess.Popen[bytes]:
    """Start a zygote that serves a socket."""
    return subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-m", "slides.jail.zygote", str(handle)],
        pass_fds=[handle],
        env=QUIET,
        cwd=os.sep,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,  # libraries print file names there
    )


_start = threading.Lock()
_running: list[Zygote] = []


def zygote() -> Zygote:
    """The zygote of this process.

    Returns:
        The running one, or a new one where there is none.

    Raises:
        SlideError: If it cannot be started.
    """
    with _start:
        if not (_running and _running[-1].alive):
            try:
                _running[:] = [Zygote()]
            except BROKEN as error:
                raise SlideError(unavailable(error)) from error
        return _running[-1]


def stop() -> None:
    """End the zygote of this process, if it has one."""
    with _start:
        for each in _running:
            if each.owner == os.getpid():
                each.close()
        _running.clear()


def capabilities() -> dict[str, int]:
    """What this machine lets a jail take away.

    Returns:
        `landlock` (version of the kernel's file-system rules, 0 for none), `seccomp` and `network` (1 or 0).
    """
    return dict(zygote().layers)


atexit.register(stop)
