"""Tuning as a whole: a search on all training cases finds the winner; where asked, outer folds judge the searching.

The figure of a winner is the best of many, so it promises too much. With `nested`, each outer fold is judged by the
winner of a search that never saw it, beside the settings as they stood: that is what tuning is worth.
"""

from __future__ import annotations

import json
import os
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Final

from mil.experiment.figure import figure_name
from mil.experiment.record import NOTICE
from mil.folds import FoldSpec
from mil.tuning.cases import ALL, Source, outer_folds, read_source
from mil.tuning.choice import Trial, importance_of, trials_of, winner_of
from mil.tuning.journal import journal, study
from mil.tuning.plan import Plan
from mil.tuning.search import Search, Told
from mil.tuning.tries import Try, judge_try
from tiling.fingerprint import fingerprint
from tiling.pool import LocalPool, Pool
from tiling.whole import write_whole

BEST, REPORT = "best.toml", "tune.json"
OUTER: Final = "outer"
"""What a nested search keeps of its own judging."""


@dataclass(frozen=True, eq=False)
class _Work:
    plan: Plan
    source: Source
    storage: Any
    pool: Pool
    told: Told
    request: str

    def search(self, outer: int) -> tuple[Any, list[Trial], Trial]:
        """Search on the cases outside an outer fold, or on all."""
        found = study(self.storage, "all" if outer == ALL else f"outer-{outer}", self.request)
        Search(self.plan, self.source, found, outer, self.told).run(self.pool)
        trials = trials_of(found)
        return found, trials, winner_of(trials)

    def nested(self, outer: int) -> dict[str, object]:
        """What a search finds on the other folds, judged on this one."""
        found, _, winner = self.search(outer)
        if OUTER not in found.user_attrs:
            base = self.plan.base
            items = [
                Try(self.source, how, outer, FoldSpec(), 0, final=True)
                for how in (base, self.plan.changed(winner.values))
            ]
            untuned, tuned = (judged.figure for judged in self.pool.map(judge_try, items))
            found.set_user_attr(OUTER, {"untuned": untuned, "tuned": tuned})
        return {"fold": outer, "values": winner.values, "promised": winner.mean, **found.user_attrs[OUTER]}


def tune(plan: Plan, out: Path, pool: Pool | None = None, told: Told | None = None) -> dict[str, object]:
    """Tune; run again after a kill, or with more trials, it goes on where it was.

    Args:
        plan: What to do.
        out: Folder of the journal, `best.toml` and `tune.json`.
        pool: Where folds are judged; one after the other in this process if None.
        told: Told how it goes, search by search.

    Returns:
        What `tune.json` holds. A folder that holds another tuning, or settings none of which can be judged, end in an
        `ExperimentError`.
    """
    source = read_source(plan.base)
    request = _request(plan, source)
    with journal(out) as storage, LocalPool(1) if pool is None else nullcontext(pool) as workers:
        work = _Work(plan, source, storage, workers, told or _quiet, request)
        folds = range(int(outer_folds(source).max()) + 1) if plan.spec.nested else ()
        outer = [work.nested(fold) for fold in folds]
        found, trials, winner = work.search(ALL)
        document = {
            "notice": NOTICE,
            "name": plan.base.name,
            "figure": figure_name(plan.base.task),
            "request": request,
            "plan": asdict(plan.spec),
            "winner": {**winner.table(), "error": winner.error},
            "best_mean": max(trial.mean for trial in trials if trial.state == "complete" and trial.mean is not None),
            "importance": importance_of(found),
            "nested": {"folds": outer, **_worth(outer)} if outer else None,
            "trials": [trial.table() for trial in trials],
        }
        write_whole(out / BEST, _best(plan, winner, out).encode())
        write_whole(out / REPORT, (json.dumps(document, indent=1, allow_nan=False) + "\n").encode())
    return document


def _best(plan: Plan, winner: Trial, out: Path) -> str:
    head = (
        f"# Research use only. Found by `oncoscope tune`: trial {winner.number}, "
        f"{figure_name(plan.base.task)} {winner.mean:.3f} on inner folds,\n# the best of many and so too good to be "
        "true. What it is worth, `oncoscope train` says.\n"
    )
    return head + plan.text(winner.values, os.path.relpath(plan.base.place, out.absolute()))


def _worth(outer: list[dict[str, Any]]) -> dict[str, float]:
    """Means over the outer folds, and the standard error of the paired difference."""
    gain = [fold["tuned"] - fold["untuned"] for fold in outer]
    return {
        "promised": fmean(fold["promised"] for fold in outer),
        "tuned": fmean(fold["tuned"] for fold in outer),
        "untuned": fmean(fold["untuned"] for fold in outer),
        "gain": fmean(gain),
        "gain_error": stdev(gain) / sqrt(len(gain)),
    }


def _request(plan: Plan, source: Source) -> str:
    """Digest of everything that decides the trials; on how many there are they do not depend."""
    space = [asdict(entry) for entry in plan.space]
    spec = asdict(replace(plan.spec, trials=1))
    return fingerprint(tables=plan.tables, space=space, spec=spec, cases=source.digest)


def _quiet(done: int, total: int) -> None:
    del done, total
