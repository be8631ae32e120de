"""Score a cohort: every slide of a manifest, on any pool. A slide that fails is listed with its reason, alone.

Two passes over the pool: the first opens every slide and names its content, the second scores what has no result yet.
So a second run recomputes nothing, and a slide that stands in two rows is scored once. A slide that ends its worker is
given up, the others go on; when the workers are gone, the tables are written all the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from biomarkers.card import Biomarker, load_card
from biomarkers.manifest import Row, read_manifest
from biomarkers.outcome import FAILED, NOT_EVALUABLE, SCORED, CohortResult, Outcome, explain
from biomarkers.pipeline import score
from biomarkers.provenance import request_fingerprint
from biomarkers.result import stored_score
from biomarkers.tables import write_tables
from foundation.access import Access, chosen
from slides import SlideInfo, open_slide
from slides.jail.spec import Jail
from tiling import Event, LocalPool, Needs, Pool, Progress
from tiling.pool import ANYWHERE
from tiling.whole import write_whole

ROWS_AT_ONCE: Final = 2
"""Slides under way in this process: one is read while the other is embedded, which itself uses all cores."""
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Opened:
    """A row of which the slide was opened, or the outcome of trying."""

    outcome: Outcome
    info: SlideInfo | None = None


@dataclass(frozen=True)
class Task:
    """What a worker needs to score one row."""

    row: Row
    card: Biomarker
    out: Path
    """Folder of the cohort."""
    outcome: Outcome
    """What is known of the row so far."""
    request: str
    """Fingerprint of what is asked for."""
    access: Access
    """What whoever asks may do with encoders: a worker of another process was not told."""


@dataclass
class Ledger:
    """What is settled and what is still to do."""

    settled: dict[int, Outcome] = field(default_factory=dict)
    """Row number -> outcome."""
    tasks: list[Task] = field(default_factory=list)
    twins: dict[int, tuple[Outcome, int]] = field(default_factory=dict)
    """Row number -> what is known of it, and the row with the same slide."""


def score_cohort(
    manifest: Path,
    biomarker: Biomarker | str | Path,
    out: Path,
    pool: Pool | None = None,
    progress: Callable[[Event], None] | None = None,
    *,
    jail: Jail | None = None,
    needs: Needs = ANYWHERE,
) -> CohortResult:
    """Score every slide of a manifest; run again, and only what failed or is new is computed.

    Args:
        manifest: The CSV table, see `biomarkers.manifest`.
        biomarker: A card, its name, or the path of one.
        out: Folder of the results: `status.csv`, `scores.csv`, `slides/<id>/`, `stages/`.
        pool: Where slides are scored; a few threads of this process where None.
        progress: Called with an event whenever a slide is settled.
        jail: Limits of processes of their own in which slides are decoded; None trusts them.
        needs: What a worker must have to score, such as a GPU; every worker can look at slides.

    Returns:
        One outcome a row, in the order of the manifest.
    """
    card = biomarker if isinstance(biomarker, Biomarker) else load_card(biomarker)
    rows = [replace(row, address=replace(row.address, jail=jail)) for row in read_manifest(manifest)]
    out = out.absolute()
    with LocalPool(ROWS_AT_ONCE) if pool is None else nullcontext(pool) as workers:
        opened = list(_each(workers, open_row, rows, lambda row, error: Opened(_failed(_unknown(row), error))))
        ledger = _ledger(list(zip(rows, opened, strict=True)), card, out)
        told = Progress(progress or _quiet, len(rows))
        told.settle(len(ledger.settled))
        for outcome in _each(
            workers, score_task, ledger.tasks, lambda task, error: _failed(task.outcome, error), needs=needs
        ):
            ledger.settled[outcome.row] = outcome
            told.settle(len(ledger.settled), sum(outcome.score.tiles.values()) if outcome.score else 0)
    for number, (outcome, first) in ledger.twins.items():
        ledger.settled[number] = _same(outcome, ledger.settled[first])
    told.settle(len(rows))
    result = CohortResult(tuple(ledger.settled[row.number] for row in rows), out)
    write_tables(result, card)
    return result


def _quiet(_event: Event) -> None:
    """Tell nobody."""


def open_row(row: Row) -> Opened:
    """Open a slide to learn what it is and at which scale; runs on any worker.

    Args:
        row: A row of the manifest.

    Returns:
        What was learnt, or why not.
    """
    known = _unknown(row)
    try:
        with open_slide(row.address) as slide:
            info = slide.info
        known = replace(known, slide=row.id or info.pseudonym, mpp_source=info.mpp_source)
        mpp = info.require_mpp()
    except Exception as error:  # noqa: BLE001 - whatever a file does to a decoder, the cohort goes on
        return Opened(_failed(known, error))
    return Opened(replace(known, mpp=(mpp.x, mpp.y)), info)


def score_task(task: Task) -> Outcome:
    """Score one slide; runs on any worker.

    Args:
        task: What to score and where to put the result.

    Returns:
        What became of it.
    """
    folder = f"slides/{task.outcome.slide}"
    try:
        told: Any = {"slide_id": task.row.id, "stages": task.out / "stages", "access": task.access}
        found = score(task.row.address, task.card, task.out / folder, **told)
    except Exception as error:  # noqa: BLE001 - as above
        return _refused(task, _failed(task.outcome, error))
    return replace(task.outcome, state=SCORED, score=found, result=folder, computed=True)


def _refused(task: Task, outcome: Outcome) -> Outcome:
    """Note that a slide is not evaluable; what failed otherwise is tried again next time."""
    if outcome.state == NOT_EVALUABLE:
        write_whole(_refusal(task.out, task.request), json.dumps({"reason": outcome.reason}).encode())
        return replace(outcome, computed=True)
    return outcome


def _ledger(opened: Sequence[tuple[Row, Opened]], card: Biomarker, out: Path) -> Ledger:
    """Sort the rows: settled already, twin of another row, or still to do."""
    ledger = Ledger()
    firsts: dict[object, int] = {}
    named: dict[str, int] = {}
    for row, item in opened:
        info, outcome = item.info, item.outcome
        if info is None:
            ledger.settled[row.number] = outcome
            continue
        first = firsts.setdefault((info.content_hash, info.mpp), row.number)
        namesake = named.setdefault(outcome.slide, row.number)
        if first != row.number:
            ledger.twins[row.number] = (outcome, first)
        elif namesake != row.number:
            reason = f"row {namesake} is the same slide with another scale"
            ledger.settled[row.number] = replace(outcome, state=FAILED, reason=reason)
        else:
            _enter(ledger, Task(row, card, out, outcome, request_fingerprint(info, card, row.id), chosen()))
    return ledger


def _enter(ledger: Ledger, task: Task) -> None:
    """Settle a row from an earlier run, or put it on the list."""
    earlier = _earlier(task.outcome, task.request, task.out)
    if earlier is None:
        ledger.tasks.append(task)
    else:
        ledger.settled[task.row.number] = earlier


def _earlier(outcome: Outcome, request: str, out: Path) -> Outcome | None:
    """What an earlier run found, if it was asked the same."""
    folder = f"slides/{outcome.slide}"
    found = stored_score(out / folder, request)
    if found is not None:
        return replace(outcome, state=SCORED, score=found, result=folder)
    try:
        refusal = json.loads(_refusal(out, request).read_text(encoding="utf-8"))
        return replace(outcome, state=NOT_EVALUABLE, reason=str(refusal["reason"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _refusal(out: Path, request: str) -> Path:
    """Where it is kept that a slide is not evaluable, so that it is not looked at again."""
    return out / "stages" / f"{request}.refused.json"


def _same(outcome: Outcome, first: Outcome) -> Outcome:
    """The outcome of a row whose slide stands in an earlier row too."""
    reason = first.reason or f"the same slide as row {first.row}"
    return replace(outcome, state=first.state, reason=reason, result=first.result, score=first.score)


def _unknown(row: Row) -> Outcome:
    return Outcome(row.number, row.fallback, row.patient, "")


def _failed(outcome: Outcome, error: Exception) -> Outcome:
    state, reason = explain(error)
    return replace(outcome, state=state, reason=reason)


def _each(
    pool: Pool,
    function: Callable[[Item], Result],
    items: Sequence[Item],
    lost: Callable[[Item, Exception], Result],
    *,
    needs: Needs = ANYWHERE,
) -> Iterator[Result]:
    """Map over a pool; what it gives up has a result of its own."""
    for item, outcome in zip(items, pool.outcomes(function, items, needs), strict=True):
        yield outcome.get() if outcome.error is None else lost(item, outcome.error)
