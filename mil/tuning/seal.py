"""The sealed test set: opened once, and the opening is written down before anything is judged.

A second look at a test set makes it a set that was tuned on. It is refused, or counted and shown to every reader of the
card. Who deletes both records can cheat; who merely forgets cannot.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from mil.cohort.cohort import Cohort
from mil.errors import ExperimentError, SealError
from mil.experiment.folder import CARD, RunFolder
from mil.experiment.sealed import SEAL, seal_table
from tiling.commit import read_manifest
from tiling.lock import locked
from tiling.whole import write_whole

OPENINGS: Final = "openings.json"
HEADING: Final = "## Openings of the sealed test set"
NOTICE: Final = "Research use only, not for diagnosis or treatment."


@dataclass(frozen=True, eq=False)
class Opening:
    """A test set that was opened, and stays so."""

    run: RunFolder
    number: int
    """1 is the only one that is a test."""
    cohort: Cohort
    """The sealed cases that have a label."""

    def close(self, result: str) -> None:
        """Write down what came out.

        Args:
            result: Text of the result, of which the sha256 is kept.
        """
        with locked(self.run.path / ".seal.lock"):
            record = _read(self.run)
            record["openings"][self.number - 1]["result"] = hashlib.sha256(result.encode()).hexdigest()
            write_whole(self.run.path / OPENINGS, _text(record))


def open_seal(
    run: RunFolder, *, unseal: bool = False, judged: str = "all members of the run", columns: Sequence[str] = ()
) -> Opening:
    """Open the test set of a run. The opening is on disk before this returns, whatever becomes of the caller.

    Args:
        run: A finished run.
        unseal: Open it although it was opened before.
        judged: What will be judged on it, in words.
        columns: Of the table, to read beside those of the task; one that is not there opens nothing.

    Returns:
        The cases, and where the result goes.

    Raises:
        ExperimentError: The experiment seals no test set.
        SealError: It was opened before, or its cases or the record of its openings are no longer what they were.
    """
    if run.experiment.test is None:
        raise ExperimentError("The experiment of this run seals no test set.")
    cohort = run.experiment.cohort(columns)
    if json.loads((run.path / SEAL).read_bytes()) != seal_table(cohort, run.experiment.sealed_rows(cohort)):
        raise SealError("The cases of the test set are no longer those that were sealed when the run was made.")
    with locked(run.path / ".seal.lock"):
        record = _read(run)
        number = len(record["openings"]) + 1
        if number > 1 and not unseal:
            raise SealError("The test set was opened before; what is tuned or chosen after a look at it is not tested.")
        when = datetime.now(UTC).isoformat(timespec="seconds")
        opening = {"number": number, "when": when, "judged": judged, "unsealed": number > 1, "result": None}
        record["openings"].append(opening)
        write_whole(run.path / OPENINGS, _text(record))
        write_whole(run.path / CARD, _card((run.path / CARD).read_text(encoding="utf-8"), opening).encode())
    return Opening(run, number, run.experiment.sealed(cohort))


def _read(run: RunFolder) -> dict[str, Any]:
    """The record of openings; an empty one where nothing says that there were any.

    Raises:
        SealError: It is damaged, of another run, or gone although the card tells of an opening.
    """
    path, digest = run.path / OPENINGS, read_manifest(run.path)["self"]
    if not path.is_file():
        if HEADING in (run.path / CARD).read_text(encoding="utf-8"):
            raise SealError("The card tells of an opening of the test set, and the record of it is gone.")
        return {"notice": NOTICE, "run": digest, "openings": []}
    try:
        record: dict[str, Any] = json.loads(path.read_bytes())
        known = record["run"] == digest and isinstance(record["openings"], list)
    except (ValueError, KeyError, TypeError) as error:
        raise SealError("The record of openings of the test set cannot be read.") from error
    if not known:
        raise SealError("The record of openings of the test set is of another run.")
    return record


def _card(text: str, opening: Mapping[str, Any]) -> str:
    """The card with one more line, for people."""
    how = "**unsealed again: no longer a test**" if opening["unsealed"] else "the one opening that is a test"
    heading = "" if HEADING in text else f"\n{HEADING}\n"
    return f"{text.rstrip()}\n{heading}{opening['number']}. {opening['when']}: {opening['judged']}; {how}.\n"


def _text(record: object) -> bytes:
    return (json.dumps(record, indent=1) + "\n").encode()
