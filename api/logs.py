"""Logs of the service: one console, our own lines only.

Libraries name files in their messages and a slide's name may be a patient's, so nothing of theirs is passed on.
"""

from __future__ import annotations

import logging
import sys

FORMAT = "%(asctime)s %(process)d %(name)s %(message)s"


def start_logging(*, verbose: bool = True) -> None:
    """Send our lines to standard error and everybody else's nowhere.

    Args:
        verbose: False keeps our own lines back too.
    """
    logging.captureWarnings(capture=True)  # their warnings quote what stands in a slide's header
    logging.getLogger().addHandler(logging.NullHandler())
    ours = logging.getLogger("oncoscope")
    ours.handlers.clear()
    ours.propagate = False
    ours.setLevel(logging.INFO)
    ours.addHandler(_console() if verbose else logging.NullHandler())


def _console() -> logging.Handler:
    """Standard error, with times."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(FORMAT))
    return handler
