"""A lock that goes with the process that holds it, however that ends: the kernel's own."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOOK_SECONDS = 0.1
"""How often a waiting run looks whether the lock is free."""
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of a path; it goes with the process that holds it, however that ends.

    Args:
        path: Where the lock's file stands meanwhile.
        wait: Until it is free.

    Yields:
        False where the file system has no locks: the caller is then not alone and must not share a folder.

    Raises:
        BlockingIOError: If the lock is taken and is not to be waited for.
        OSError: If the file cannot be made.
    """
    alone = False
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)  # of a shared folder, perhaps
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone = _is_at(handle, path)
            if alone:
                break
        except BlockingIOError:
            if not wait:
                os.close(handle)
                raise
            time.sleep(LOOK_SECONDS)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                os.close(handle)
                raise
            break
        os.close(handle)
    try:
        yield alone
    finally:
        if alone:  # else it is another's
            with suppress(OSError):
                path.unlink()
        os.close(handle)


def _is_at(handle: int, path: Path) -> bool:
    """Whether an open file is the one that stands at a path: its last holder may have removed it meanwhile."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
