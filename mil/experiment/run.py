"""Running an experiment: every fold and seed on a pool, then one folder that is there whole or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mil.errors import ExperimentError
from mil.experiment.card import card
from mil.experiment.compare import compare
from mil.experiment.development import Development, prepare
from mil.experiment.environment import environment
from mil.experiment.experiment import Experiment
from mil.experiment.findings import write_findings
from mil.experiment.folder import BASELINE, CARD, EXPERIMENT, MEMBERS, PREDICTIONS, RUN, RunFolder
from mil.experiment.gathering import gather, histories
from mil.experiment.out_of_fold import OutOfFold, table_of
from mil.experiment.pieces import REQUEST, Piece, do_piece, write_folds
from mil.experiment.record import record
from mil.experiment.sealed import SEAL
from mil.folds import make_folds
from mil.head import build_head
from mil.training.objective import build_objective
from tiling.commit import STAGING_SUFFIX, commit, is_committed, read_manifest
from tiling.fingerprint import fingerprint
from tiling.lock import locked
from tiling.pool import LocalPool, Pool

HISTORIES, ENVIRONMENT = "history.jsonl", "environment.json"
Counts = Callable[[int, int], None]
"""Told how many pieces are done, and how many there are."""


def run_experiment(
    experiment: Experiment, text: bytes, out: Path, pool: Pool | None = None, progress: Counts | None = None
) -> RunFolder:
    """Train and judge every member and the linear models beside them; what an earlier, killed run finished is kept.

    Args:
        experiment: What to do.
        text: Its TOML, as given.
        out: The folder to appear.
        pool: Where members are trained; one after the other in this process if None.
        progress: Told how it goes.

    Returns:
        The run; one that stands there already and is of the same experiment is opened as it is.

    Raises:
        ExperimentError: Another run, or something else, stands there, or a run is being made there now.
    """
    run = _Run(experiment, text, out.absolute(), prepare(experiment))
    if not _is_done(run):
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ExperimentError("The folder of the run holds something else already; name another.")
        run.out.parent.mkdir(parents=True, exist_ok=True)
        try:
            with locked(run.out.with_name(f".{out.name}.lock"), wait=False):
                _run(run, pool, progress or _quiet)
        except BlockingIOError as error:
            raise ExperimentError("Another process is making this run now.") from error
    return RunFolder.open(out, experiment.place)


def _is_done(run: _Run) -> bool:
    return is_committed(run.out) and read_manifest(run.out).get("request") == run.about["request"]


@dataclass(frozen=True, eq=False)
class _Run:
    experiment: Experiment
    text: bytes
    out: Path
    data: Development

    @property
    def draft(self) -> Path:
        return self.out.with_name(f".{self.out.name}.building")

    @property
    def about(self) -> dict[str, Any]:
        """What decides every number of the run."""
        cohort = self.data.cohort
        cases = [[case.id, case.patient, case.centre, *case.slides] for case in cohort.cases]
        facts = {"bags": cohort.source.fingerprint, "cases": cases, "targets": self.data.targets.tobytes().hex()}
        regions = [[] if one is None else [one.tiles.tolist(), one.targets.tolist()] for one in self.data.marks]
        request = fingerprint(experiment=self.text.decode(), regions=regions, **facts)
        return {"kind": "oncoscope-run", "request": request}


def _run(run: _Run, pool: Pool | None, progress: Counts) -> None:
    experiment, data = run.experiment, run.data
    head = build_head(experiment.head, data.cohort.source.width, data.task.outputs, dict(experiment.settings))
    build_objective(data.task, experiment.objective, data.targets)  # both say now what is wrong with them
    folds = make_folds(data.patients, data.centres, data.strata, experiment.folds)
    _begin(run, folds)
    pieces = _pieces(run, folds)
    progress(0, len(pieces))
    with LocalPool(1) if pool is None else nullcontext(pool) as workers:
        for done, _ in enumerate(workers.map(do_piece, pieces), 1):
            progress(done, len(pieces))
    found = gather(data, folds, pieces)
    verdict = compare(data.task, found)
    extras = write_findings(experiment, data, found, run.draft)
    _write(run, pieces, found, record(experiment, data, verdict, head) | extras)
    commit(run.draft, run.out, run.about)


def _begin(run: _Run, folds: NDArray[np.int64]) -> None:
    """Go on with what an earlier run of the same request left, or start anew."""
    marker, said_here = run.draft / REQUEST, json.dumps(run.about)
    for half in run.draft.glob(f"*/.*{STAGING_SUFFIX}"):  # a kill leaves these, and they are no part of a run
        shutil.rmtree(half, ignore_errors=True)
    if not marker.is_file() or marker.read_text(encoding="utf-8") != said_here:
        shutil.rmtree(run.draft, ignore_errors=True)
        run.draft.mkdir()
    write_folds(run.draft, run.data, folds)
    (run.draft / EXPERIMENT).write_bytes(run.text)
    marker.write_text(said_here, encoding="utf-8")


def _pieces(run: _Run, folds: NDArray[np.int64]) -> list[Piece]:
    per_repeat = int(folds.max()) + 1
    every = [repeat * per_repeat + int(fold) for repeat, own in enumerate(folds) for fold in np.unique(own)]
    members = [
        Piece(run.experiment, run.draft, "members", fold, seed) for fold in every for seed in run.experiment.seeds
    ]
    return members + [Piece(run.experiment, run.draft, "baseline", fold) for fold in every]


def _write(run: _Run, pieces: Sequence[Piece], found: OutOfFold, about: dict[str, Any]) -> None:
    names = {kind: [piece.name for piece in pieces if piece.kind == kind] for kind in (MEMBERS, BASELINE)}
    for name, content in {
        PREDICTIONS: table_of(found),
        HISTORIES: histories(pieces),
        RUN: json.dumps(about | names, indent=1, allow_nan=False) + "\n",
        ENVIRONMENT: json.dumps(environment(), indent=1) + "\n",
        CARD: card(run.experiment, about),
        **({} if run.data.seal is None else {SEAL: json.dumps(run.data.seal) + "\n"}),
    }.items():
        (run.draft / name).write_text(content, encoding="utf-8")


def _quiet(done: int, total: int) -> None:
    del done, total
