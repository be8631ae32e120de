"""What a run must survive: kills at any moment, labels corrected between runs, few patients, rows left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mil.errors import ExperimentError, FoldError, LabelError
from mil.experiment import pieces
from mil.experiment.development import Development, prepare
from mil.experiment.experiment import Experiment
from mil.experiment.fold import fit_fold_baseline
from mil.experiment.pieces import REQUEST, Piece, do_piece, write_folds
from mil.experiment.read import LARGEST, parse_experiment, read_experiment
from mil.experiment.run import run_experiment
from mil.experiment.sealed import SealedSpec
from mil.folds import FoldSpec, make_folds
from mil.tasks.read import read_task

TOML = b"""
[experiment]
name = "toy"
purpose = "To be run by a test."
[data]
bags = "bags.npz"
labels = "labels.csv"
[task]
kind = "binary"
[head]
name = "mean"
hidden = 4
[training]
epochs = 1
min_epochs = 1
steps = 1
[folds]
count = 2
"""
SLIDES = 18


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    """18 slides of as many patients; the table has rows of slides that are not in the file."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(4 * SLIDES, 3)).astype(np.float16)
    names = [f"s{i}" for i in range(SLIDES)]
    np.savez(tmp_path / "bags.npz", features=features, offsets=np.arange(SLIDES + 1) * 4, slide_id=names)
    lines = ["slide_id,patient,centre,label,other", "gone,p,c0,1,1", "lost,q,c0,0,0"]
    lines += [f"{name},p{i},c{i % 3},{i % 2},{i % 4 // 2}" for i, name in enumerate(names)]
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "experiment.toml").write_bytes(TOML)
    return read_experiment(tmp_path / "experiment.toml")


def test_what_a_kill_left_half_done_is_no_part_of_the_run(experiment: Experiment, tmp_path: Path) -> None:
    class Killed(Exception):  # noqa: N818 - it stands for a signal
        pass

    def kill(done: int, total: int) -> None:
        del total
        if done == 1:
            raise Killed

    with pytest.raises(Killed):
        run_experiment(experiment, TOML, tmp_path / "run", progress=kill)
    half = tmp_path / ".run.building" / "members" / ".1-0.0123456789ab.staging"
    half.mkdir()
    (half / "head.safetensors").write_bytes(b"half")
    run = run_experiment(experiment, TOML, tmp_path / "run")
    assert not [path for path in run.path.rglob("*") if path.name.startswith(".")]


def test_a_kill_while_the_request_is_written_is_survived(experiment: Experiment, tmp_path: Path) -> None:
    draft = tmp_path / ".run.building"
    draft.mkdir()
    (draft / REQUEST).write_text('{"kind": "onco')
    assert run_experiment(experiment, TOML, tmp_path / "run").record["name"] == "toy"


def test_a_worker_that_lives_on_reads_corrected_labels(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Seen(Exception):  # noqa: N818 - it ends the piece where it is known what it read
        pass

    def look(data: Development, *_: object) -> None:
        seen.append(float(data.targets.sum()))
        raise Seen

    seen: list[float] = []
    monkeypatch.setattr(pieces, "fit_fold_baseline", look)
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        data = prepare(experiment)
        write_folds(tmp_path / folder, data, make_folds(data.patients, data.centres, data.strata, experiment.folds))
        (tmp_path / folder / REQUEST).write_text(folder)
        with pytest.raises(Seen):
            do_piece(Piece(experiment, tmp_path / folder, "baseline", 0))
        text = (tmp_path / "labels.csv").read_text()
        (tmp_path / "labels.csv").write_text(text.replace("s0,p0,c0,0", "s0,p0,c0,1"))
    assert seen == [SLIDES / 2, SLIDES / 2 + 1]


def test_several_labels_of_few_patients_have_a_linear_model_too(experiment: Experiment) -> None:
    data = prepare(replace(experiment, task=read_task({"kind": "multilabel", "labels": ["label", "other"]})))
    folds = make_folds(data.patients, data.centres, data.strata, FoldSpec(count=2))[0]
    assert set(data.strata.tolist()) == {-1}
    assert np.isfinite(fit_fold_baseline(data, folds, 0)[2]).all()


def test_a_repeat_with_fewer_folds_has_fewer_members(experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "mil.experiment.run.make_folds", lambda *_: np.stack([np.arange(SLIDES) // 2 % 3, np.arange(SLIDES) // 2 % 2])
    )
    run = run_experiment(experiment, TOML, experiment.place / "run")
    assert run.record["members"] == ["0-0", "1-0", "2-0", "3-0", "4-0"]
    assert np.isfinite(run.out_of_fold().by_repeat).all()


def test_a_label_that_is_not_known_is_named_by_its_row_of_the_table(experiment: Experiment) -> None:
    table = experiment.place / "labels.csv"
    table.write_text(table.read_text().replace("s3,p3,c0,1", "s3,p3,c0,perhaps"))
    with pytest.raises(LabelError, match=r"^Row 6:") as caught:
        prepare(experiment)
    assert "perhaps" not in str(caught.value)


def test_a_text_or_number_that_is_too_long_or_too_deep_is_refused() -> None:
    long = TOML.replace(b"steps = 1", b"lr = 1" + b"0" * 400)
    for content in (TOML + b"#" * LARGEST, b"a = " + b"[" * 100_000, long):
        with pytest.raises(ExperimentError):
            parse_experiment(content, Path)


def test_seeds_are_not_negative() -> None:
    with pytest.raises(FoldError):
        FoldSpec(seed=-1)
    with pytest.raises(ExperimentError):
        SealedSpec(share=0.5, seed=-1)
