"""`tune`: an experiment and what of it may change in, better settings out."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from api import NOTICE
from api.cli.pooling import pool_of
from api.cli.progress import progress
from api.cli.reply import Reply
from api.settings import Settings
from mil.tuning.plan import read_plan, with_trials
from mil.tuning.tune import BEST, REPORT
from mil.tuning.tune import tune as run


def tune(arguments: argparse.Namespace) -> Reply:
    """Tune an experiment; run again after a kill, or with more trials, it goes on where it was.

    Args:
        arguments: `experiment`, `out`, `trials`, `scheduler`, `workers`, `certs`.

    Returns:
        The reply.
    """
    begin = time.perf_counter()
    plan = with_trials(read_plan(arguments.experiment, Settings().data), arguments.trials)
    with pool_of(arguments) as pool, progress("trials") as show:
        found = run(plan, arguments.out, pool, show)
    seconds = round(time.perf_counter() - begin, 3)
    files = {"best": str(arguments.out / BEST), "report": str(arguments.out / REPORT)}
    return Reply({**found, "seconds": seconds, "files": files}, text_of(found, arguments.out, seconds))


def text_of(found: dict[str, Any], out: Path, seconds: float) -> str:
    """A tuning in a few lines.

    Args:
        found: What `tune.json` holds.
        out: Its folder, as the user calls it.
        seconds: How long it took.

    Returns:
        The text.
    """
    states = [trial["state"] for trial in found["trials"]]
    winner, nested = found["winner"], found["nested"]
    counts = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
    rule = f"best {found['best_mean']:.3f}; the smallest head within one standard error of it wins"
    lines = [
        f"{len(states)} trials in {seconds:.1f} s: {counts}",
        f"winner: trial {winner['number']}, {found['figure']} {winner['mean']:.3f} on inner folds ({rule})",
        *(f"  {key} = {value}" for key, value in winner["values"].items()),
    ]
    if found["importance"]:
        lines.append("what decided: " + ", ".join(f"{key} {share:.0%}" for key, share in found["importance"].items()))
    if nested:
        lines.append(
            f"outer folds, which no search saw: tuned {nested['tuned']:.3f}, as it stood {nested['untuned']:.3f},"
            f" gain {nested['gain']:+.3f}, standard error {nested['gain_error']:.3f}"
        )
    return "\n".join([*lines, f"train it: oncoscope train {out / BEST} --out DIR", NOTICE])
