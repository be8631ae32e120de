"""What a command says: a document for scripts, a text for people, an exit status for both."""

from __future__ import annotations

import json
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
        print(json.dumps({"notice": NOTICE, **reply.document}, indent=1), flush=True)
    elif reply.text and not as_json:
        print(reply.text, flush=True)
    for warning in dict.fromkeys(reply.warnings):
        print(f"oncoscope: warning: {warning}", file=sys.stderr, flush=True)
    if reply.complaint:
        print(f"oncoscope: {reply.complaint}", file=sys.stderr, flush=True)
    return reply.status
