"""Rules of clusters that are ours, in Dask's words, without Dask."""

from __future__ import annotations

from typing import Final

WORKER_RULES: Final[dict[str, bool | float]] = {
    # Results are small, so there is nothing to spill; a worker that pauses for its size would pause for ever. The nanny
    # still ends one that reaches its limit, and what it did is then suspect.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.95,
}
RULES: Final[dict[str, bool | float]] = {
    "distributed.scheduler.allowed-failures": 0,  # blame at the first death: we find out who it was
    **WORKER_RULES,
}


def exports() -> list[str]:
    """The rules of workers for those that another machine starts.

    Returns:
        Lines of a shell script; Dask reads its settings from the environment.
    """
    return [f"export DASK_{name.upper().replace('.', '__')}={value}" for name, value in WORKER_RULES.items()]
