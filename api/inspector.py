"""Looks at an upload in a short-lived process: a reader that crashes, hangs or eats memory takes nothing with it.

Reads one JSON line from standard input (`path`, `memory_bytes`, `seconds`), writes one to standard output: `info`, or
`error` (a class of `slides.errors`) and `detail`.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from slides import SlideError, open_slide

MAX_FILES = 256
"""More than any single-file slide needs."""
PREVIEW_PX = 64
"""A thumbnail this small still decodes all of the coarsest level, so a slide that opens but cannot be read shows."""


def confine(memory_bytes: int, seconds: float) -> None:
    """Limit what this process can take; what is loaded by now does not count.

    Args:
        memory_bytes: Address space that may be added.
        seconds: Processor and wall-clock time, after which the system ends the process.
    """
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    _lower(resource.RLIMIT_AS, pages * resource.getpagesize() + memory_bytes)
    _lower(resource.RLIMIT_CPU, int(seconds) + 1)
    _lower(resource.RLIMIT_NOFILE, MAX_FILES)
    _lower(resource.RLIMIT_CORE, 0)
    signal.alarm(int(seconds) + 1)


def inspect(path: str) -> dict[str, Any]:
    """Open a slide and read a little of it.

    Args:
        path: The file.

    Returns:
        `info`, or `error` and `detail`.
    """
    try:
        with open_slide(path) as slide:
            slide.thumbnail(PREVIEW_PX)
            return {"info": slide.info.to_json()}
    except SlideError as error:
        return {"error": type(error).__name__, "detail": str(error)}


def main() -> None:
    """Do what standard input says."""
    order = json.loads(sys.stdin.readline())
    confine(order["memory_bytes"], order["seconds"])
    json.dump(inspect(order["path"]), sys.stdout)


def _lower(limit: int, value: int) -> None:
    """Set a limit, never above what the process was given."""
    hard = resource.getrlimit(limit)[1]
    wanted = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(limit, (wanted, wanted))


if __name__ == "__main__":
    main()
