"""The command line: `oncoscope COMMAND ...`. Exit status 0 all is well, 1 a slide or job failed, 2 a wrong call.

Every command gives one `Reply`; here it becomes text or one JSON document, and an error becomes one plain sentence.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence

from api.cli.parser import build_parser
from api.cli.reply import Reply, write_reply

__all__ = ["main"]

INTERRUPTED = 130
"""What shells expect of a program that was stopped by Ctrl-C."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The arguments; None takes those of the process.

    Returns:
        The exit status.
    """
    try:
        arguments = build_parser().parse_args(argv)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 2
    if not arguments.debug:
        _hush()
    try:
        reply: Reply = arguments.run(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        if arguments.debug:
            raise
        from api.cli.failure import reply_of

        reply = reply_of(error)
    return write_reply(reply, as_json=arguments.json)


def _hush() -> None:
    """Libraries warn and log about files by name; users get our one sentence instead."""
    from api.logs import start_logging

    start_logging(verbose=False)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
