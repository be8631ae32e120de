"""What became of the slides of a cohort."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from biomarkers.errors import BiomarkerError
from biomarkers.score import Score
from foundation import FoundationError
from mil import MilError
from slides import MissingMppError, SlideError
from tiling import NotEvaluableError, TilingError

SCORED: Final = "scored"
NOT_EVALUABLE: Final = "not_evaluable"
FAILED: Final = "failed"
OURS: Final = (SlideError, TilingError, FoundationError, MilError, BiomarkerError)
"""Errors whose message was written to be shown."""


@dataclass(frozen=True)
class Outcome:
    """What became of one row."""

    row: int
    slide: str
    """Pseudonym."""
    patient: str
    state: str
    """`scored`, `not_evaluable`, `failed`; empty while it is still to be computed."""
    reason: str = ""
    mpp: tuple[float, float] | None = None
    """Scale of level 0 in um/px, x and y."""
    mpp_source: str = ""
    result: str = ""
    """Folder of the result relative to that of the cohort."""
    score: Score | None = None
    computed: bool = False
    """True where this run scored it or found it not evaluable; False where that was known, or it failed."""


@dataclass(frozen=True)
class CohortResult:
    """What became of a cohort."""

    outcomes: tuple[Outcome, ...]
    """One a row, in the order of the manifest."""
    out: Path

    def count(self, state: str) -> int:
        """How many rows ended in a state.

        Args:
            state: `scored`, `not_evaluable` or `failed`.

        Returns:
            The number of rows.
        """
        return Counter(outcome.state for outcome in self.outcomes)[state]

    @property
    def computed(self) -> int:
        """Rows that this run scored or found not evaluable."""
        return sum(outcome.computed for outcome in self.outcomes)

    @property
    def reused(self) -> int:
        """Rows that were settled without computing: by an earlier run, or by another row with the same slide."""
        return sum(not outcome.computed and outcome.state != FAILED for outcome in self.outcomes)

    @property
    def ok(self) -> bool:
        """Whether every slide was scored."""
        return self.count(SCORED) == len(self.outcomes)

    def to_json(self) -> dict[str, object]:
        """A JSON document.

        Returns:
            Counts of rows by state, `computed`, `reused`, and the names of the two tables.
        """
        counts = {state: self.count(state) for state in (SCORED, NOT_EVALUABLE, FAILED)}
        tables = {"status_csv": "status.csv", "scores_csv": "scores.csv"}
        return {
            "slides": len(self.outcomes),
            **counts,
            "computed": self.computed,
            "reused": self.reused,
            "files": tables,
        }


def explain(error: Exception) -> tuple[str, str]:
    """Put an error into words that may be shown.

    Args:
        error: What stopped a slide.

    Returns:
        State and reason. Of an error that is not ours only the class is told: its text may hold a path.
    """
    if isinstance(error, NotEvaluableError | MissingMppError):
        return NOT_EVALUABLE, str(error)
    if isinstance(error, OURS):
        return FAILED, str(error)
    return FAILED, f"internal error: {type(error).__name__}"
