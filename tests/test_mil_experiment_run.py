"""A run is whole or not there, goes on after a kill, and can be trusted when it is opened later."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mil.errors import CheckpointError, CohortError, ExperimentError, HeadError, LabelError
from mil.experiment.development import prepare
from mil.experiment.experiment import DataSpec, Experiment
from mil.experiment.folder import RunFolder
from mil.experiment.pieces import Piece
from mil.experiment.read import read_experiment
from mil.experiment.run import _pieces, _Run, run_experiment
from mil.folds import check_folds
from mil.trust.cases import verdicts

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
epochs = 3
min_epochs = 1
[folds]
count = 3
[test]
centres = ["c3"]
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 slides of 40 patients from 4 centres; the label moves the second feature."""
    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    sizes = rng.integers(2, 12, 48)
    label = rng.integers(0, 2, 48)
    features = rng.normal(size=(sizes.sum(), 5)) + np.repeat(label, sizes)[:, None] * [0, 1.5, 0, 0, 0]
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    names = [f"s{i}" for i in range(48)]
    np.savez(folder / "bags.npz", features=features.astype(np.float16), offsets=offsets, slide_id=names)
    lines = ["slide_id,patient,centre,label,grade,days,dead,value"]
    for i, name in enumerate(names):
        known = "" if i == 5 else str(label[i])
        more = f"{1 + (label[i] + i) % 3},{100 + 7 * i - 50 * label[i]},{int(i % 3 != 0)},{label[i] + i / 50:.2f}"
        lines.append(f"{name},p{i % 40},c{i % 40 % 4},{known},{more}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    (folder / "experiment.toml").write_bytes(TOML)
    return folder


@pytest.fixture(scope="module")
def experiment(data: Path) -> Experiment:
    return read_experiment(data / "experiment.toml")


@pytest.fixture(scope="module")
def finished(experiment: Experiment, data: Path) -> RunFolder:
    return run_experiment(experiment, TOML, data / "run")


def test_a_run_holds_what_it_promises(finished: RunFolder) -> None:
    names = {path.name for path in finished.path.iterdir()}
    assert names >= {
        "experiment.toml",
        "run.json",
        "folds.csv",
        "predictions.csv",
        "history.jsonl",
        "members",
        "baseline",
        "card.md",
        "environment.json",
        "trust.json",
        "suspects.csv",
        "outliers",
    }
    assert (len(finished.members), len(finished.baseline)) == (3, 3)
    assert finished.record["verdict"]["figure"] == "AUROC"
    assert finished.record["winner"] in {"head", "baseline"}
    assert "Research use only" in (finished.path / "card.md").read_text()
    lines = [json.loads(line) for line in (finished.path / "history.jsonl").read_text().splitlines()]
    assert {line["fold"] for line in lines} == {0, 1, 2}
    assert not list(finished.path.parent.glob(".run*"))


def test_sealed_and_unlabelled_cases_are_not_looked_at(finished: RunFolder, experiment: Experiment) -> None:
    found = finished.out_of_fold()
    whole = experiment.cohort()
    sealed = {case.id for case in experiment.sealed(whole).cases}
    assert sealed
    assert not sealed & set(found.cases)
    assert "c3" not in found.centres
    assert "s5" not in found.cases
    assert len(found.cases) + len(sealed) == 47


def test_no_case_is_judged_by_a_member_that_saw_its_patient(finished: RunFolder, experiment: Experiment) -> None:
    found = finished.out_of_fold()
    check_folds(found.folds, found.patients)
    cohort = experiment.development(experiment.cohort())
    every = finished.predict_logits(cohort)
    linear = finished.predict_baseline(cohort)
    own = found.folds[0]
    np.testing.assert_array_equal(found.logits, every[own, np.arange(len(own))])
    np.testing.assert_allclose(found.baseline_logits, linear[own, np.arange(len(own))], rtol=1e-5)
    assert not np.allclose(found.logits, every[(own + 1) % 3, np.arange(len(own))])


def test_a_run_knows_what_its_scores_may_be_believed(finished: RunFolder, experiment: Experiment) -> None:
    found = finished.out_of_fold()
    assert finished.outliers is not None
    for model, logits in (("head", found.logits), ("baseline", found.baseline_logits)):
        trust = finished.trust("head" if model == "head" else "baseline")
        assert trust is not None
        assert np.nanmean(np.abs(trust.apply(logits).probabilities - found.targets)) < 0.5
    assert finished.outliers.judge([experiment.cohort().features(0)]).distance > 0
    lines = (finished.path / "suspects.csv").read_text().splitlines()
    assert len(lines) == 1 + finished.record["suspects"]


def test_every_case_gets_a_verdict_by_the_better_model(
    finished: RunFolder, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed = experiment.sealed(experiment.cohort())
    found = verdicts(finished, sealed)
    assert len(found) == len(sealed)
    other = "baseline" if finished.record["winner"] == "head" else "head"
    turned = verdicts(replace(finished, record={**finished.record, "winner": other}), sealed)
    assert [one.text for one in found] != [one.text for one in turned]
    monkeypatch.setattr(RunFolder, "trust", lambda *_: None)
    assert {one.state for one in verdicts(finished, sealed)} == {"refer"}


def test_the_same_experiment_in_the_same_folder_is_not_run_again(finished: RunFolder, experiment: Experiment) -> None:
    told: list[int] = []
    before = (finished.path / "run.json").stat().st_mtime_ns
    again = run_experiment(experiment, TOML, finished.path, progress=lambda done, _: told.append(done))
    assert not told
    assert again.record == finished.record
    assert (finished.path / "run.json").stat().st_mtime_ns == before


class Killed(Exception):  # noqa: N818 - it stands for a signal
    """What a kill looks like from inside."""


def test_a_killed_run_goes_on_and_gives_the_same_bits(finished: RunFolder, experiment: Experiment) -> None:
    out = finished.path.with_name("killed")

    def kill(done: int, total: int) -> None:
        del total
        if done == 2:
            raise Killed

    with pytest.raises(Killed):
        run_experiment(experiment, TOML, out, progress=kill)
    assert not out.exists()
    draft = out.with_name(".killed.building")
    kept, torn = draft / "members" / "0-0" / "head.json", draft / "members" / "1-0" / "head.safetensors"
    stamp = kept.stat().st_mtime_ns
    content = torn.read_bytes()
    torn.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    run = run_experiment(experiment, TOML, out)
    assert (out / "members" / "0-0" / "head.json").stat().st_mtime_ns == stamp
    for name in ("predictions.csv", "folds.csv", "history.jsonl", "run.json"):
        assert (out / name).read_bytes() == (finished.path / name).read_bytes()
    assert [member.digest for member in run.members] == [member.digest for member in finished.members]


@pytest.mark.parametrize("name", ["run.json", "predictions.csv", "members/1-0/head.safetensors", "experiment.toml"])
@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_damaged_run_is_refused(finished: RunFolder, tmp_path: Path, name: str, damage: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(finished.path, copy)
    if damage == "gone":
        (copy / name).unlink()
    else:
        content = (copy / name).read_bytes()
        (copy / name).write_bytes(content[:-3] + bytes([content[-3] ^ 1]) + content[-2:])
    with pytest.raises(CheckpointError):
        RunFolder.open(copy)


def test_notes_beside_a_run_and_on_its_card_do_no_harm(finished: RunFolder, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(finished.path, copy)
    (copy / "report.html").write_text("a report")
    (copy / "card.md").write_text("more")
    assert RunFolder.open(copy).record == finished.record
    with pytest.raises(CheckpointError, match="no finished run"):
        RunFolder.open(tmp_path)


def test_a_folder_that_holds_something_else_is_left_alone(
    experiment: Experiment, finished: RunFolder, tmp_path: Path
) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(ExperimentError, match="something else"):
        run_experiment(experiment, TOML, tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "precious"
    with pytest.raises(ExperimentError, match="something else"):
        run_experiment(experiment, TOML + b"# changed", finished.path)


def test_a_head_that_does_not_exist_is_refused_before_anything_is_written(
    experiment: Experiment, tmp_path: Path
) -> None:
    with pytest.raises(HeadError):
        run_experiment(replace(experiment, head="none"), TOML, tmp_path / "run")
    assert not [path for path in tmp_path.iterdir() if not path.name.startswith(".")]


def test_one_class_is_refused(experiment: Experiment, tmp_path: Path) -> None:
    data = replace(experiment.data, where=(("label", ("1",)),))
    with pytest.raises(LabelError):
        run_experiment(replace(experiment, data=data), TOML, tmp_path / "run")


def test_pieces_travel(experiment: Experiment, tmp_path: Path) -> None:
    piece = Piece(experiment, tmp_path, "members", 3, 1)
    assert pickle.loads(pickle.dumps(piece)) == piece  # noqa: S301 - as Dask sends it
    assert hash(experiment) == hash(replace(experiment, data=DataSpec("bags.npz", "labels.csv")))
    assert piece.name == "3-1"


Change = Callable[[str], str]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("label,", "tag,", 1), "no column label"),
        (lambda text: text.replace("s6,p6,c2,", "s6,p6,c2,7", 1), "Row 7"),
        (lambda text: text.replace("s9,", "s8,", 1), "Rows 9 and 10"),
    ],
)
def test_bad_labels_are_refused_with_their_row(
    experiment: Experiment, data: Path, tmp_path: Path, change: Change, words: str
) -> None:
    text = (data / "labels.csv").read_text()
    assert change(text) != text
    (tmp_path / "labels.csv").write_text(change(text))
    shutil.copy(data / "bags.npz", tmp_path)
    with pytest.raises((LabelError, CohortError), match=words):
        run_experiment(replace(experiment, place=tmp_path), TOML, tmp_path / "run")


def test_a_repeat_with_fewer_folds_has_fewer_members(experiment: Experiment, tmp_path: Path) -> None:
    run = _Run(experiment, TOML, tmp_path / "run", prepare(experiment))
    pieces = _pieces(run, np.array([[0, 1, 2], [0, 1, 1]]))
    assert [piece.name for piece in pieces if piece.kind == "members"] == ["0-0", "1-0", "2-0", "3-0", "4-0"]
    assert [piece.fold for piece in pieces if piece.kind == "baseline"] == [0, 1, 2, 3, 4]
