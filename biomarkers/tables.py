"""The two tables of a cohort: what became of every slide, and the scores."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

from biomarkers.card import Biomarker
from biomarkers.outcome import SCORED, CohortResult, Outcome
from biomarkers.score import Score
from tiling.whole import write_whole

STATUS = ("slide", "state", "reason", "row", "patient", "mpp_x", "mpp_y", "mpp_source", "result", "notice")
MAYBE_NONE = frozenset({"tumour_stroma_ratio"})
"""Numbers that a slide may lack; their column is there all the same."""
SCORES = ("slide", "patient", "score", "category", "biomarker", "version", "tiles")


def write_tables(result: CohortResult, card: Biomarker) -> None:
    """Write `status.csv` (every row) and `scores.csv` (scored rows), each whole or not at all.

    Args:
        result: The outcomes.
        card: The biomarker.
    """
    states = [{**_status(outcome), "notice": card.notice} for outcome in result.outcomes]
    write_whole(result.out / "status.csv", _csv(STATUS, states).encode())
    scored = [
        (outcome, outcome.score) for outcome in result.outcomes if outcome.state == SCORED and outcome.score is not None
    ]
    lines = [_score(outcome, score) for outcome, score in scored]
    measured = list(dict.fromkeys(key for line in lines for key in line if key not in SCORES))
    lines = [{**line, "notice": card.notice} for line in lines]
    write_whole(result.out / "scores.csv", _csv((*SCORES, *measured, "notice"), lines).encode())


def _csv(header: Sequence[str], lines: Iterable[Mapping[str, object]]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, header, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: "" if value is None else value for key, value in line.items()} for line in lines)
    return buffer.getvalue()


def _status(outcome: Outcome) -> dict[str, object]:
    mpp_x, mpp_y = outcome.mpp or (None, None)
    return {
        "slide": outcome.slide,
        "state": outcome.state,
        "reason": outcome.reason,
        "row": outcome.row,
        "patient": outcome.patient,
        "mpp_x": mpp_x,
        "mpp_y": mpp_y,
        "mpp_source": outcome.mpp_source,
        "result": outcome.result,
    }


def _score(outcome: Outcome, score: Score) -> dict[str, object]:
    """One line of `scores.csv`; Python writes floats so that they read back as the same bits."""
    return {
        "slide": outcome.slide,
        "patient": outcome.patient,
        "score": score.score,
        "category": score.category,
        "biomarker": score.biomarker["name"],
        "version": score.biomarker["version"],
        "tiles": next(iter(score.tiles.values())),
        **_measures(score.measures),
    }


def _measures(measures: Mapping[str, object]) -> dict[str, object]:
    """The measures that are one number each; of a composition also each class, and the summary of the grid."""
    plain = {name: value for name, value in measures.items() if isinstance(value, int | float) or name in MAYBE_NONE}
    grid, classes = measures.get("immune_grid"), measures.get("classes")
    if isinstance(grid, Mapping):
        plain |= {f"immune_grid_{name}": grid[name] for name in ("cells", "min", "median", "max")}
    if isinstance(classes, Mapping):
        plain |= {f"{name}_{what}": entry[what] for what in ("share", "area_mm2") for name, entry in classes.items()}
    return plain
