"""The ancestor of all children: one thread, every reader imported, no network. It forks a child for each slide.

`python -m slides.jail.zygote HANDLE` serves one parent process over the inherited socket and ends with it. A fork of a
process of one thread is safe, and costs milliseconds where starting Python and its libraries costs a second.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import socket
import sys
from contextlib import suppress
from importlib import import_module
from typing import NoReturn

import cv2

from slides import plugins
from slides.jail import child, landlock, seccomp, wire
from slides.jail.confine import die_with_parent, leave_network, lower


def main(handle: int) -> None:
    """Serve until the parent is gone.

    Args:
        handle: Descriptor of the socket to the parent.
    """
    connection = socket.socket(fileno=handle)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is the parent's to handle
    lower(resource.RLIMIT_CORE, 0)
    network = leave_network()
    cv2.setNumThreads(1)
    for target in plugins.targets():
        import_module(target.partition(":")[0])
    gc.freeze()
    layers = {"landlock": landlock.abi(), "seccomp": int(seccomp.available()), "network": int(network)}
    wire.send(connection, {"layers": layers})
    with suppress(EOFError, ConnectionError):
        while True:
            request = wire.receive(connection)
            wire.send(connection, _fork(request, connection) if request["do"] == "fork" else _bury(request["process"]))


def _fork(request: wire.Message, connection: socket.socket) -> wire.Message:
    """Start a child."""
    handles = wire.receive_handles(connection)
    own = os.getpid()
    process = os.fork()
    if process == 0:
        _become_child(request, connection, handles, own)
    for handle in handles:
        os.close(handle)
    return {"process": process}


def _become_child(request: wire.Message, connection: socket.socket, handles: list[int], parent: int) -> NoReturn:
    """What the fork does in the child."""
    try:
        die_with_parent(parent)
        connection.close()
        count = request["connections"]
        child.live(request, [socket.socket(fileno=handle) for handle in handles[:count]], handles[count:])
    finally:
        os._exit(1)


def _bury(process: int) -> wire.Message:
    """End a child, if it has not ended itself, and say how it went; its number is not used again before this."""
    found, status, used = os.wait4(process, os.WNOHANG)
    if not found:
        os.kill(process, signal.SIGKILL)
        _, status, used = os.wait4(process, 0)
    return {
        "exit": os.waitstatus_to_exitcode(status),
        "rss_bytes": used.ru_maxrss * 1024,
        "seconds": used.ru_utime + used.ru_stime,
    }


if __name__ == "__main__":
    main(int(sys.argv[1]))
