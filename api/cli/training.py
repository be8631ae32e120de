"""`train`: an experiment in, the folder of a run out."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from api import NOTICE
from api.cli.pooling import pool_of
from api.cli.progress import progress
from api.cli.reply import Reply
from api.settings import Settings
from mil.experiment.folder import CARD, PREDICTIONS, RUN, RunFolder
from mil.experiment.read import read_experiment
from mil.experiment.run import run_experiment


def train(arguments: argparse.Namespace) -> Reply:
    """Run an experiment; run again after a kill, it goes on where it was.

    Args:
        arguments: `experiment`, `out`, `scheduler`, `workers`, `certs`.

    Returns:
        The reply.
    """
    begin = time.perf_counter()
    experiment = read_experiment(arguments.experiment, Settings().data)
    with pool_of(arguments) as pool, progress("pieces") as show:
        run = run_experiment(experiment, arguments.experiment.read_bytes(), arguments.out, pool, show)
    seconds = round(time.perf_counter() - begin, 3)
    files = {
        name: str(arguments.out / file) for name, file in (("card", CARD), ("predictions", PREDICTIONS), ("run", RUN))
    }
    verdict = run.record["verdict"]
    document = {"name": experiment.name, "winner": run.record["winner"], "verdict": verdict, "seconds": seconds}
    return Reply(document | {"files": files}, text_of(run, arguments.out, seconds))


def text_of(run: RunFolder, out: Path, seconds: float) -> str:
    """A run in a few lines.

    Args:
        run: The run.
        out: Its folder, as the user calls it.
        seconds: How long it took.

    Returns:
        The text.
    """
    verdict, data = run.record["verdict"], run.record["data"]

    def line(who: str, key: str) -> str:
        low, high = verdict[f"{key}_interval"]
        return f"{who}: {verdict['figure']} {verdict[key]:.3f} ({low:.3f} to {high:.3f})"

    won = run.experiment.head if run.record["winner"] == "head" else "linear model"
    if not run.record["verdict"]["above_chance"]:
        won = f"neither: the interval of the better one, {won}, holds .5, which is chance"
    return "\n".join([
        f"{data['cases']} cases of {data['patients']} patients, {len(run.record['members'])} members, {seconds:.1f} s",
        line(run.experiment.head, "head"),
        line("linear model", "baseline"),
        f"recommended: {won}",
        f"card: {out / CARD}",
        NOTICE,
    ])
