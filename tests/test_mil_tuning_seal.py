"""A test set is opened once; every further opening is refused, or counted where everybody sees it."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mil import Bag
from mil.cohort.write import write_bags
from mil.errors import CohortError, ExperimentError, SealError
from mil.experiment.development import prepare
from mil.experiment.folder import CARD, RunFolder
from mil.experiment.read import read_experiment
from mil.experiment.run import run_experiment
from mil.tuning.seal import OPENINGS, open_seal

TOML = """
[experiment]
name = "small"
purpose = "a test"
[data]
bags = "bags.npz"
labels = "labels.csv"
[task]
kind = "binary"
[head]
name = "mean"
[training]
epochs = 1
min_epochs = 1
[folds]
count = 2
[test]
centres = ["c3"]
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an experiment, its data, and the run of it."""
    folder, rng = tmp_path_factory.mktemp("sealed"), np.random.default_rng(0)
    bags = [Bag(f"s{i}", rng.normal(size=(3, 4)).astype(np.float32), np.zeros((3, 2), np.int64)) for i in range(48)]
    write_bags(folder / "bags.npz", bags)
    rows = [f"s{i},p{i},c{i % 4},{'' if i == 3 else i // 4 % 2}" for i in range(48)]
    (folder / "labels.csv").write_text("\n".join(["slide_id,patient,centre,label", *rows]) + "\n")
    (folder / "small.toml").write_text(TOML)
    run_experiment(read_experiment(folder / "small.toml"), TOML.encode(), folder / "run")
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> RunFolder:
    """The run, of its own to open."""
    shutil.copytree(made / "run", tmp_path / "run")
    return RunFolder.open(tmp_path / "run", made)


def openings(run: RunFolder) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads((run.path / OPENINGS).read_text())["openings"]
    return found


def test_the_first_opening_gives_the_sealed_cases_and_is_recorded(run: RunFolder) -> None:
    opening = open_seal(run, judged="head and linear model")
    assert {case.centre for case in opening.cohort.cases} == {"c3"}
    assert len(opening.cohort) == 11  # one of the twelve has no label
    assert openings(run)[0] | {"when": ""} == {
        "number": 1,
        "when": "",
        "judged": "head and linear model",
        "unsealed": False,
        "result": None,
    }
    opening.close("0.7")
    assert openings(run)[0]["result"] == hashlib.sha256(b"0.7").hexdigest()
    assert "head and linear model; the one opening that is a test" in (run.path / CARD).read_text()
    assert RunFolder.open(run.path, run.experiment.place).record == run.record  # the run is whole as before


def test_a_second_opening_is_refused_even_where_the_first_came_to_nothing(run: RunFolder) -> None:
    open_seal(run)  # and the process dies before it judges
    with pytest.raises(SealError, match="opened before"):
        open_seal(run)
    assert len(openings(run)) == 1


def test_unsealing_is_counted_and_stands_in_the_card(run: RunFolder) -> None:
    assert open_seal(run, unseal=True).number == 1
    assert open_seal(run, unseal=True).number == 2
    open_seal(run, unseal=True).close("")
    assert [entry["unsealed"] for entry in openings(run)] == [False, True, True]
    assert [entry["result"] is None for entry in openings(run)] == [True, True, False]
    card = (run.path / CARD).read_text()
    assert card.count("unsealed again: no longer a test") == 2
    assert card.count("## Openings of the sealed test set") == 1


def test_a_record_that_is_gone_or_altered_opens_nothing(run: RunFolder) -> None:
    open_seal(run)
    record = (run.path / OPENINGS).read_text()
    for damaged in (None, "{", "[]", record.replace('"run": "', '"run": "0')):
        (run.path / OPENINGS).unlink(missing_ok=True)
        if damaged is not None:
            (run.path / OPENINGS).write_text(damaged)
        with pytest.raises(SealError):
            open_seal(run, unseal=True)


def test_other_cases_than_were_sealed_are_not_opened(run: RunFolder, made: Path, tmp_path: Path) -> None:
    for name in ("bags.npz", "labels.csv"):
        shutil.copy(made / name, tmp_path / name)
    labels = (tmp_path / "labels.csv").read_text()
    (tmp_path / "labels.csv").write_text(labels.replace("s4,p4,c0", "s4,p4,c3"))
    with pytest.raises(SealError, match="no longer those"):
        open_seal(RunFolder.open(run.path, tmp_path))
    assert not (run.path / OPENINGS).exists()


def test_a_column_that_is_not_there_opens_nothing(run: RunFolder) -> None:
    with pytest.raises(CohortError, match="no column age"):
        open_seal(run, columns=["age"])
    assert not (run.path / OPENINGS).exists()
    assert open_seal(run, columns=["centre"]).cohort.table["centre"] == ("c3",) * 11


def test_the_seal_holds_no_label(run: RunFolder) -> None:
    assert set(json.loads((run.path / "seal.json").read_text())) == {"cases", "digest"}


def test_a_run_without_a_test_set_has_nothing_to_open(run: RunFolder) -> None:
    with pytest.raises(ExperimentError, match="seals no test set"):
        open_seal(replace(run, experiment=replace(run.experiment, test=None)))


@pytest.mark.parametrize("poison", ["no such label", "7", ""])
def test_what_training_sees_does_not_depend_on_labels_of_sealed_cases(made: Path, tmp_path: Path, poison: str) -> None:
    for name in ("bags.npz", "small.toml"):
        shutil.copy(made / name, tmp_path / name)
    lines = (made / "labels.csv").read_text().splitlines()
    poisoned = [line.rpartition(",")[0] + f",{poison}" if ",c3," in line else line for line in lines]
    (tmp_path / "labels.csv").write_text("\n".join(poisoned) + "\n")
    clean, other = (prepare(read_experiment(folder / "small.toml")) for folder in (made, tmp_path))
    assert clean.cohort.cases == other.cohort.cases
    assert clean.cohort.table == other.cohort.table
    assert np.array_equal(clean.targets, other.targets)
    assert clean.seal == other.seal
