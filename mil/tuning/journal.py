"""The journal: what was tried and what came of it, a line of JSON each, kept by Optuna and safe to kill at any time."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from mil.errors import ExperimentError
from mil.extra import library
from tiling.lock import locked

JOURNAL: Final = "journal.jsonl"
REQUEST: Final = "request"


class _Alone:
    """The lock that Optuna asks for: one process writes the journal, and holds the folder's lock already."""

    def acquire(self) -> bool:
        """Nothing to wait for.

        Returns:
            True.
        """
        return True

    def release(self) -> None:
        """Nothing to give back."""


@contextmanager
def journal(folder: Path) -> Iterator[Any]:
    """Open the journal of a folder, alone.

    Args:
        folder: Made where missing.

    Yields:
        Optuna's storage.

    Raises:
        ExperimentError: Another process is tuning there.
    """
    optuna = library("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / JOURNAL
    try:
        with locked(folder / ".lock", wait=False):
            _mend(path)
            backend = library("optuna.storages.journal").JournalFileBackend(str(path), lock_obj=_Alone())
            yield optuna.storages.JournalStorage(backend)
    except BlockingIOError as error:
        raise ExperimentError("Another process is tuning into this folder now.") from error


def study(storage: Any, name: str, request: str) -> Any:  # noqa: ANN401 - Optuna's own
    """Begin a search, or go on with it.

    Args:
        storage: From `journal`.
        name: Of the search.
        request: Digest of everything that decides it.

    Returns:
        Optuna's study, to be maximised; nothing is pruned by Optuna.

    Raises:
        ExperimentError: The folder holds a search of something else.
    """
    optuna = library("optuna")
    found = optuna.create_study(
        storage=storage, study_name=name, direction="maximize", load_if_exists=True, pruner=optuna.pruners.NopPruner()
    )
    if REQUEST not in found.user_attrs:
        found.set_user_attr(REQUEST, request)
    elif found.user_attrs[REQUEST] != request:
        raise ExperimentError("The folder holds another tuning; name another folder.")
    return found


def _mend(path: Path) -> None:
    """Cut off a last line that a killed process did not finish: a line appended to it could not be read.

    Raises:
        ExperimentError: A line before it is no JSON.
    """
    if not path.is_file():
        return
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    for number, line in enumerate(content[:whole].splitlines(), 1):
        try:
            json.loads(line)
        except ValueError as error:
            raise ExperimentError(
                f"Line {number} of the journal of the tuning is damaged; tune into a new folder."
            ) from error
    if whole < len(content):
        os.truncate(path, whole)
