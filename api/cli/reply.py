"""What a command says: a document for scripts, a text for people, an exit status for both."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from api import NOTICE

OK, FAILED, WRONG_CALL = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Reply:
    """The end of a command."""

    document: Mapping[str, object] | None = None
    """What `--json` prints; None where the command has printed it already."""
    text: str = ""
    """What is printed otherwise."""
    status: int = OK
    complaint: str = ""
    """One sentence for standard error."""
    warnings: Sequence[str] = ()
    """What is doubtful about the slide; each once on standard error."""


def write_reply(reply: Reply, *, as_json: bool) -> int:
    """Print a reply.

    Args:
        reply: The reply.
        as_json: Print its document, not its text.

    Returns:
        The exit status.
    """
    if as_json and reply.document is not None:
        _print(json.dumps({"notice": NOTICE, **reply.document}, indent=1))
    elif reply.text and not as_json:
        _print(reply.text)
    for warning in dict.fromkeys(reply.warnings):
        print(f"oncoscope: warning: {warning}", file=sys.stderr, flush=True)
    if reply.complaint:
        print(f"oncoscope: {reply.complaint}", file=sys.stderr, flush=True)
    return reply.status


def _print(text: str) -> None:
    """Print what a reader may have stopped reading, such as `head`: the rest is then of no use to anybody."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is flushed at exit goes there
