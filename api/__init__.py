"""The service and the command line of oncoscope: jobs in SQL, HTTP routes, one console command. Research use only.

Importing this package, or `api.app`, loads no torch: that is left to the worker process and the commands that need it.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

NOTICE = "research use only, not for diagnosis or treatment"
"""Said in every document, on every page and in a header of every response."""

try:
    VERSION = version("oncoscope")
    """Version of the installed distribution."""
except PackageNotFoundError:  # started from a checkout that is not installed
    VERSION = "0+checkout"

__all__ = ["NOTICE", "VERSION"]
