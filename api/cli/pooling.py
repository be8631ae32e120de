"""Where the work of a command runs."""

from __future__ import annotations

import argparse
from contextlib import nullcontext

from api.errors import BadRequestError
from tiling import Pool


def pool_of(arguments: argparse.Namespace) -> Pool | nullcontext[None]:
    """Dask where it is asked for, else None: threads of this process.

    Args:
        arguments: `scheduler`, `workers`, `certs`.

    Returns:
        The pool, to be entered.

    Raises:
        BadRequestError: If both a scheduler and a number of workers are given, or the number is not positive, or
            certificates and the scheduler's address do not belong together.
    """
    scheduler, workers, certs = arguments.scheduler, arguments.workers, arguments.certs
    if workers is not None and (scheduler is not None or workers < 1):
        raise BadRequestError(
            "--workers is a positive number, and only for a cluster on this machine, without --scheduler"
        )
    if (certs is not None) != (scheduler or "").startswith("tls://"):
        raise BadRequestError("--certs belongs to a --scheduler at a tls:// address, and such a one needs it")
    if scheduler is None and workers is None:
        return nullcontext()
    from tiling.cluster import DaskPool

    return DaskPool(scheduler, certs=certs) if workers is None else DaskPool(None, workers)
