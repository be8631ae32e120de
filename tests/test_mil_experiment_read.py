"""The TOML of an experiment is read strictly, and says which table and key is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mil.bag import Bag
from mil.cohort.cohort import Case, Cohort
from mil.cohort.read import open_bags
from mil.errors import CohortError, ExperimentError, LabelError
from mil.experiment.experiment import TrustSpec
from mil.experiment.read import parse_experiment, read_experiment
from mil.experiment.sealed import SealedSpec, sealed_cases
from mil.folds import FoldSpec
from mil.tasks.binary import Binary
from mil.tasks.texts import column_of
from mil.training.memory import BagsInMemory

TOML = """
[experiment]
name = "toy"
purpose = "To be read."
seeds = [3, 1]
[data]
root = "here"
bags = "bags.npz"
labels = "labels.csv"
where = { project = ["COAD", "READ"] }
[task]
kind = "binary"
column = "msi"
positive = ["high"]
negative = ["low", "stable"]
[head]
name = "abmil"
hidden = 16
dropout = 0.5
[training]
epochs = 7
[objective]
imbalance = "weights"
[folds]
by = "centre"
count = 3
[test]
centres = ["A"]
[trust]
alpha = 0.2
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "experiment.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_everything_that_is_written_is_read(tmp_path: Path) -> None:
    found = read_experiment(write(tmp_path, TOML))
    assert (found.name, found.purpose, found.seeds) == ("toy", "To be read.", (3, 1))
    assert found.place == tmp_path / "here"
    assert dict(found.data.cohort.where) == {"project": ("COAD", "READ")}
    assert found.task == Binary("msi", ("high",), ("low", "stable"))
    assert (found.head, found.settings) == ("abmil", (("hidden", 16), ("dropout", 0.5)))
    assert (found.training.epochs, found.objective.imbalance, found.trust) == (7, "weights", TrustSpec(0.2))
    assert (found.folds, found.test) == (FoldSpec(count=3, by="centre"), SealedSpec(centres=("A",)))
    assert found.columns == ("msi",)


def test_the_shared_folder_is_the_one_of_the_settings(tmp_path: Path) -> None:
    path = write(tmp_path, TOML.replace('"here"', '"ONCOSCOPE_DATA"'))
    assert read_experiment(path, tmp_path / "shared").place == tmp_path / "shared"
    with pytest.raises(ExperimentError, match="no such folder is set"):
        read_experiment(path)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[folds]", "[fold]", r"no table \[fold\]"),
        ("[head]\n", "[other]\n", r"no table \[other\]"),
        ('[head]\nname = "abmil"\nhidden = 16\ndropout = 0.5\n', "", r"\[head\] is missing"),
        ("epochs = 7", "epoch = 7", r"\[training\] has no key epoch"),
        ("epochs = 7", "epochs = 7.5", r"epochs of \[training\] must be int"),
        ("epochs = 7", "epochs = 0", '"epochs" of .training. is 0'),
        ('imbalance = "weights"', 'imbalance = "luck"', r"imbalance of \[objective\] must be one of"),
        ('purpose = "To be read."', "purpose = 3", '"purpose" of .experiment. must be a text'),
        ("seeds = [3, 1]", "seeds = [3, 3]", '"seeds" of .experiment. must be a list of different'),
        ("seeds = [3, 1]", "seed = [3, 1]", '.experiment. has an unknown key "seed"'),
        ('project = ["COAD", "READ"]', 'project = "COAD"', '"where" of .data. must be a table of lists'),
        ('bags = "bags.npz"', "", r"\[data\] lacks the key bags"),
        ("hidden = 16", "hidden = [16]", '"hidden" of .head. must be a number'),
        ('centres = ["A"]', 'centres = ["A"]\nshare = 0.5', r"\[test\] needs one of"),
        ("alpha = 0.2", "alpha = 2.0", '"alpha" of .trust. must be between'),
        ("[trust]\nalpha = 0.2", 'trust = "much"', "trust"),
        ("[experiment]", "[experiment", "not a TOML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in TOML
    with pytest.raises(ExperimentError, match=words):
        read_experiment(write(tmp_path, TOML.replace(old, new)))


def test_an_experiment_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match="cannot be read"):
        read_experiment(tmp_path / "none.toml")


def cohort() -> Cohort:
    facts = [("p1", "A"), ("p1", "B"), ("p2", "B"), ("p3", "C"), ("p4", "C")]
    made = tuple(Case(f"{i}", patient, centre, (i,), i) for i, (patient, centre) in enumerate(facts))
    bags = [Bag(case.id, np.ones((1, 1), np.float32), np.zeros((1, 2), np.int64)) for case in made]
    return Cohort(BagsInMemory(bags), made, {"set": ("x", "", "", "test", "")})


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (SealedSpec(centres=("A",)), [True, True, False, False, False]),  # p1 is sealed whole
        (SealedSpec(column="set", values=("test",)), [False, False, False, True, False]),
    ],
)
def test_a_patient_is_sealed_whole(spec: SealedSpec, expected: list[bool]) -> None:
    assert sealed_cases(spec, cohort()).tolist() == expected


def test_a_share_of_the_patients_is_sealed() -> None:
    sealed = sealed_cases(SealedSpec(share=0.5, seed=1), cohort())
    assert len({case.patient for case, hidden in zip(cohort().cases, sealed, strict=True) if hidden}) == 2
    assert sealed[0] == sealed[1]


@pytest.mark.parametrize("spec", [SealedSpec(centres=("none",)), SealedSpec(centres=("A", "B", "C"))])
def test_a_test_of_nobody_or_of_all_is_refused(spec: SealedSpec) -> None:
    with pytest.raises(ExperimentError, match=r"\[test\] seals"):
        sealed_cases(spec, cohort())


def test_what_is_not_there_is_said_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"not a TOML text \(at line 2, column \d+\)"):
        parse_experiment(b"[experiment]\nname = \n", lambda _: tmp_path)
    with pytest.raises(CohortError, match="not there: an experiment's path counts"):
        open_bags(tmp_path / "none.npz")
    with pytest.raises(LabelError, match="no column markr; perhaps marker is meant"):
        column_of({"marker": ("1",)}, "markr")
