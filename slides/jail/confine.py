"""What a child gives up before it looks at the first byte of a slide. Each layer is used where the system has it."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import sysconfig
from importlib import import_module
from pathlib import Path
from typing import Final

from slides import plugins
from slides.jail import landlock, seccomp

PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP = 1, 38, 24
CLONE_NEWUSER, CLONE_NEWNET, CLONE_NEWIPC = 0x10000000, 0x40000000, 0x08000000
MAY_READ_FILES: Final = 2
"""The capability that is kept: root reads files of others, as it would without a jail (CAP_DAC_READ_SEARCH)."""
CAPABILITIES: Final = 64
CAPABILITY_FORMAT: Final = 0x20080522
MOST_FILES: Final = 1024
"""Open files: a DICOM slide opens each of its instances."""
LIBRARIES: Final = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache", "/dev/null")
RANDOM: Final = "/dev/urandom"

_libc = ctypes.CDLL(None, use_errno=True)


def leave_network() -> bool:
    """Move this process, which must have one thread, into a network without devices.

    Returns:
        Whether that was allowed.
    """
    alone = int(_libc.unshare(CLONE_NEWNET | CLONE_NEWIPC)) == 0
    return alone or int(_libc.unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWIPC)) == 0


def die_with_parent(parent: int) -> None:
    """Make the kernel end this process when its parent ends, however that ends.

    Args:
        parent: The process that started this one.
    """
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def confine(memory_bytes: int, shared_bytes: int, readable: list[Path]) -> dict[str, int]:
    """Give up everything but decoding.

    Args:
        memory_bytes: What may be allocated from now on.
        shared_bytes: What may be mapped besides: the slide's files and the memory of its answers.
        readable: What of the file system is left, besides Python and its libraries.

    Returns:
        Which layers are in force: `landlock` (its version, 0 for none), `seccomp` (1 or 0).
    """
    _limit(memory_bytes, shared_bytes)
    _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    version = landlock.restrict([*readable, *(Path(place) for place in (*LIBRARIES, RANDOM)), *_python()])
    _drop_capabilities()
    return {"landlock": version, "seccomp": int(seccomp.restrict())}


def _limit(memory_bytes: int, shared_bytes: int) -> None:
    """Limits of resources; what is loaded by now does not count.

    RLIMIT_NPROC is left alone: it counts what this user runs outside of the jail too; seccomp refuses new processes.
    """
    sizes = [int(field) for field in Path("/proc/self/statm").read_text(encoding="ascii").split()]
    page = resource.getpagesize()
    lower(resource.RLIMIT_DATA, sizes[5] * page + memory_bytes)
    lower(resource.RLIMIT_AS, sizes[0] * page + memory_bytes + shared_bytes)
    lower(resource.RLIMIT_NOFILE, MOST_FILES)
    lower(resource.RLIMIT_FSIZE, 0)
    lower(resource.RLIMIT_CORE, 0)


def lower(limit: int, value: int) -> None:
    """Set a limit, never above what the process was given.

    Args:
        limit: One of `resource.RLIMIT_*`.
        value: The new limit.
    """
    hard = resource.getrlimit(limit)[1]
    wanted = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(limit, (wanted, wanted))


def _python() -> list[Path]:
    """Where Python, its packages and the readers are: decoders load parts of themselves late."""
    places = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    readers = {"slides"} | {target.partition(".")[0].partition(":")[0] for target in plugins.targets()}
    own = {str(Path(file).parent) for file in (import_module(name).__file__ for name in readers) if file}
    return [Path(place) for place in (*places, *own, str(Path(sys.base_prefix) / "lib"))]


def _drop_capabilities() -> None:
    """Root keeps none of its powers but reading files, which Landlock bounds."""
    for capability in range(CAPABILITIES):
        _libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_FORMAT, 0)
    present = (ctypes.c_uint32 * 6)()
    if _libc.capget(header, present) == 0:
        kept = present[1] & (1 << MAY_READ_FILES)
        _libc.capset(header, (ctypes.c_uint32 * 6)(kept, kept, 0, 0, 0, 0))
