"""Messages between parent, zygote and child: a length, then JSON. Nothing that is received can become code."""

from __future__ import annotations

import json
import socket
import struct
import time
from typing import Any, Final

LENGTH: Final = struct.Struct("<I")
MOST_BYTES: Final = 64 << 20
"""Of one message; a block of tiles takes 10 kB."""
MOST_HANDLES: Final = 64

Message = dict[str, Any]


def send(connection: socket.socket, message: Message) -> None:
    """Send a message.

    Args:
        connection: Where to.
        message: Anything that JSON holds.
    """
    data = json.dumps(message).encode()
    connection.sendall(LENGTH.pack(len(data)) + data)


def receive(connection: socket.socket, seconds: float | None = None) -> Message:
    """Wait for a message.

    Args:
        connection: Where from.
        seconds: How long to wait in all, however slowly it comes; None for ever.

    Returns:
        The message.

    Raises:
        TypeError: If it is JSON, but no object.
    """
    end = None if seconds is None else time.monotonic() + seconds
    (length,) = LENGTH.unpack(_exactly(connection, LENGTH.size, end))
    message = json.loads(_exactly(connection, min(length, MOST_BYTES), end))
    if not isinstance(message, dict):
        msg = "the message is no object"
        raise TypeError(msg)
    return message


def _exactly(connection: socket.socket, length: int, end: float | None) -> bytes:
    """So many bytes.

    Raises:
        EOFError: If the other side is gone.
        TimeoutError: If they do not come in time.
    """
    data = bytearray()
    while len(data) < length:
        left = None if end is None else end - time.monotonic()
        if left is not None and left <= 0:
            msg = "the other side is silent"
            raise TimeoutError(msg)
        connection.settimeout(left)
        part = connection.recv(min(length - len(data), 1 << 20))
        if not part:
            msg = "the other side is gone"
            raise EOFError(msg)
        data += part
    return bytes(data)


def send_handles(connection: socket.socket, handles: list[int]) -> None:
    """Pass open files to another process.

    Args:
        connection: A UNIX socket.
        handles: Their descriptors.
    """
    socket.send_fds(connection, [b"h"], handles)


def receive_handles(connection: socket.socket) -> list[int]:
    """Take what `send_handles` passed.

    Args:
        connection: A UNIX socket.

    Returns:
        Descriptors of this process.
    """
    return list(socket.recv_fds(connection, 1, MOST_HANDLES)[1])
