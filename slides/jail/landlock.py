"""Landlock: the kernel lets this process read a few places, and nothing else of the file system. Linux >= 5.13.

Layout of the calls: `linux/landlock.h`; the numbers are the same on every architecture.
"""

from __future__ import annotations

import ctypes
import os
import stat
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
VERSION_FLAG, PATH_BENEATH = 1, 1
READ_FILE, READ_DIR = 1 << 2, 1 << 3
FS_RIGHTS: Final = {1: 13, 2: 14, 3: 15, 5: 16}
"""ABI -> how many file-system rights it knows; all of them are taken away and reading is given back."""
NET_SINCE, SCOPE_SINCE = 4, 6
TCP_RIGHTS, SCOPES = 0b11, 0b11
"""Binding and connecting; abstract sockets and signals."""

_libc = ctypes.CDLL(None, use_errno=True)


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def abi() -> int:
    """The kernel's version of Landlock.

    Returns:
        1 or more, 0 where there is none.
    """
    return max(0, int(_libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(VERSION_FLAG))))


def restrict(readable: Iterable[Path]) -> int:
    """Leave this thread, and all it starts, nothing but reading below some places.

    Args:
        readable: Files and folders; those that do not exist are passed over.

    Returns:
        The version that is in force, 0 where there is none.
    """
    version = abi()
    if version == 0:
        return 0
    handled = (1 << max(count for since, count in FS_RIGHTS.items() if since <= version)) - 1
    rules = _Ruleset(handled, TCP_RIGHTS if version >= NET_SINCE else 0, SCOPES if version >= SCOPE_SINCE else 0)
    size = 8 * (1 + (version >= NET_SINCE) + (version >= SCOPE_SINCE))
    ruleset = _called(CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(size), ctypes.c_uint32(0))
    try:
        for path in readable:
            _allow(ruleset, path)
        _called(RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)
    return version


def _allow(ruleset: int, path: Path) -> None:
    """Let a file, or everything below a folder, be read."""
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        folder = stat.S_ISDIR(os.fstat(handle).st_mode)
        rule = _PathBeneath(READ_FILE | READ_DIR if folder else READ_FILE, handle)
        _called(ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(PATH_BENEATH), ctypes.byref(rule), ctypes.c_uint32(0))
    finally:
        os.close(handle)


def _called(number: int, *arguments: object) -> int:
    """Make a system call.

    Raises:
        OSError: If it fails.
    """
    result = int(_libc.syscall(number, *arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), "the kernel refused a Landlock rule")
    return result
