"""seccomp: system calls that decoding never needs fail with EPERM, whatever runs in the process.

A list of what is refused, not of what is allowed: decoders and the C library differ in what they call, and none of
them starts programs, opens sockets, traces processes, changes files or makes shared memory. Numbers:
`asm/unistd_64.h` (x86-64) and `asm-generic/unistd.h` (arm64); layout: `linux/seccomp.h`, `linux/filter.h`.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import platform
import struct
from typing import Final

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, PR_GET_SECCOMP = 38, 22, 21
MODE_FILTER: Final = 2
LOAD, JUMP_EQUAL, JUMP_ANY_BIT, JUMP_ABOVE, RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
"""Instructions of the filter: load a word, jump if equal, if any bit is set, if at least; give a verdict."""
ALLOW, FAIL = 0x7FFF0000, 0x00050000
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16
"""Where the kernel puts what a filter may look at (`struct seccomp_data`); arguments have 8 bytes each."""
CLONE_THREAD: Final = 0x00010000
X32: Final = 0x40000000
"""Numbers from here on are x86-64's second table of the same calls."""
ARCHITECTURES: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
NAMES: Final = (
    *("socket", "connect", "bind", "listen", "execve", "execveat", "fork", "vfork"),
    *("ptrace", "process_vm_readv", "process_vm_writev", "kill", "tkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"),
    *("pidfd_send_signal", "pidfd_getfd", "pidfd_open", "mount", "umount2", "pivot_root", "chroot", "setns", "unshare"),
    *("open_tree", "move_mount", "fsopen", "mount_setattr", "bpf", "perf_event_open", "userfaultfd", "io_uring_setup"),
    *("keyctl", "add_key", "request_key", "open_by_handle_at", "kexec_load", "init_module", "finit_module"),
    *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat", "utime", "utimes"),
    *("futimesat", "utimensat", "setxattr", "lsetxattr", "fsetxattr", "removexattr", "personality", "modify_ldt"),
    *("lremovexattr", "fremovexattr", "setxattrat", "removexattrat", "file_setattr"),
    *("creat", "truncate", "ftruncate", "fallocate", "mkdir", "mkdirat", "rmdir", "mknod", "mknodat"),
    *("unlink", "unlinkat", "rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat"),
    *("shmget", "shmat", "msgget", "semget", "mq_open", "memfd_create", "memfd_secret"),
)
NUMBERS: Final = {
    "x86_64": (
        *(41, 42, 49, 50, 59, 322, 57, 58),
        *(101, 310, 311, 62, 200, 129, 297),
        *(424, 438, 434, 165, 166, 155, 161, 308, 272),
        *(428, 429, 430, 442, 321, 298, 323, 425),
        *(250, 248, 249, 304, 246, 175, 313),
        *(90, 91, 268, 452, 92, 93, 94, 260, 132, 235),
        *(261, 280, 188, 189, 190, 197, 135, 154),
        *(198, 199, 463, 466, 469),
        *(85, 76, 77, 285, 83, 258, 84, 133, 259),
        *(87, 263, 82, 264, 316, 86, 265, 88, 266),
        *(29, 30, 68, 64, 240, 319, 447),
    ),
    "aarch64": (
        *(198, 203, 200, 201, 221, 281, -1, -1),
        *(117, 270, 271, 129, 130, 138, 240),
        *(424, 438, 434, 40, 39, 41, 51, 268, 97),
        *(428, 429, 430, 442, 280, 241, 282, 425),
        *(219, 217, 218, 265, 104, 105, 273),
        *(-1, 52, 53, 452, -1, 55, -1, 54, -1, -1),
        *(-1, 88, 5, 6, 7, 14, 92, -1),
        *(15, 16, 463, 466, 469),
        *(-1, 45, 46, 47, -1, 34, -1, -1, 33),
        *(-1, 35, -1, 38, 276, -1, 37, -1, 36),
        *(194, 196, 186, 190, 180, 279, 447),
    ),
}
"""In the order of `NAMES`; -1 where an architecture has no such call."""
CLONE: Final = {"x86_64": 56, "aarch64": 220}
CLONE3, OPENAT2 = 435, 437
"""Calls whose flags lie in memory, where a filter cannot see them; the C library does without them."""
TGKILL: Final = {"x86_64": 234, "aarch64": 131}
OPENAT, OPEN = {"x86_64": 257, "aarch64": 56}, {"x86_64": 2, "aarch64": -1}
MMAP: Final = {"x86_64": 9, "aarch64": 222}
WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
SHARED, ANONYMOUS = mmap.MAP_SHARED, mmap.MAP_ANONYMOUS
"""Of MAP_SHARED, MAP_PRIVATE and MAP_SHARED_VALIDATE the shared ones have the lowest bit."""

_libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    _fields_ = (("count", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def available() -> bool:
    """Whether this machine can filter system calls.

    Returns:
        True on architectures whose numbers are known here, where the kernel has seccomp.
    """
    return platform.machine() in ARCHITECTURES and int(_libc.prctl(PR_GET_SECCOMP, 0, 0, 0, 0)) >= 0


def restrict() -> bool:
    """Refuse the calls of `NAMES`, new processes and signals to others, in this thread and all it starts.

    Returns:
        Whether the filter is in force.
    """
    if not available():
        return False
    instructions = _instructions(platform.machine(), os.getpid())
    program = _Program(len(instructions) // 8, instructions)
    _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return int(_libc.prctl(PR_SET_SECCOMP, MODE_FILTER, ctypes.byref(program), 0, 0)) == 0


def _instructions(machine: str, process: int) -> bytes:
    """The filter: 8 bytes an instruction."""
    refused = FAIL | errno.EPERM
    lines = [
        (LOAD, 0, 0, ARCHITECTURE),
        (JUMP_EQUAL, 1, 0, ARCHITECTURES[machine]),
        (RETURN, 0, 0, refused),
        (LOAD, 0, 0, NUMBER),
        (JUMP_ABOVE, 0, 1, X32),
        (RETURN, 0, 0, refused),
    ]
    for number in (CLONE3, OPENAT2):
        lines += [(JUMP_EQUAL, 0, 1, number), (RETURN, 0, 0, FAIL | errno.ENOSYS)]
    for number in (number for number in NUMBERS[machine] if number >= 0):
        lines += [(JUMP_EQUAL, 0, 1, number), (RETURN, 0, 0, refused)]
    for number, argument in ((OPENAT[machine], 2), (OPEN[machine], 1)):
        if number >= 0:
            lines += _unless_any(number, argument, WRITING)
    lines += [
        (JUMP_EQUAL, 0, 5, MMAP[machine]),  # shared memory counts for no limit but that of addresses
        (LOAD, 0, 0, FIRST_ARGUMENT + 3 * 8),
        (JUMP_ANY_BIT, 0, 2, SHARED),
        (JUMP_ANY_BIT, 0, 1, ANONYMOUS),
        (RETURN, 0, 0, refused),
        (RETURN, 0, 0, ALLOW),
        (JUMP_EQUAL, 0, 4, CLONE[machine]),
        (LOAD, 0, 0, FIRST_ARGUMENT),
        (JUMP_ANY_BIT, 1, 0, CLONE_THREAD),
        (RETURN, 0, 0, refused),
        (RETURN, 0, 0, ALLOW),
        (JUMP_EQUAL, 0, 3, TGKILL[machine]),
        (LOAD, 0, 0, FIRST_ARGUMENT),
        (JUMP_EQUAL, 1, 0, process),  # abort() signals its own process
        (RETURN, 0, 0, refused),
        (RETURN, 0, 0, ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


def _unless_any(number: int, argument: int, bits: int) -> list[tuple[int, int, int, int]]:
    """Refuse a call where any of some bits of an argument is set."""
    return [
        (JUMP_EQUAL, 0, 4, number),
        (LOAD, 0, 0, FIRST_ARGUMENT + argument * 8),
        (JUMP_ANY_BIT, 0, 1, bits),
        (RETURN, 0, 0, FAIL | errno.EPERM),
        (RETURN, 0, 0, ALLOW),
    ]
