"""`oncoscope train` from the outside: the journey, its document, and one sentence for what is wrong."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from api.cli import main
from mil.experiment.read import read_experiment

ROOT = Path(__file__).resolve().parents[1]

TOML = """
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
epochs = 2
min_epochs = 1
[folds]
count = 2
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    names = [f"s{i}" for i in range(24)]
    features = rng.normal(size=(72, 4)).astype(np.float32)
    np.savez(tmp_path / "bags.npz", features=features, offsets=np.arange(25) * 3, slide_id=names)
    lines = ["slide_id,patient,label", *(f"{name},{name},{i % 2}" for i, name in enumerate(names))]
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    (tmp_path / "toy.toml").write_text(TOML)
    return tmp_path


def test_an_experiment_is_run_and_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["train", str(folder / "toy.toml"), "--out", str(folder / "run")]
    assert main([*call, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["notice"].startswith("research use only")
    assert document["winner"] in {"head", "baseline"}
    assert all(Path(name).is_file() for name in document["files"].values())
    assert main(call) == 0
    said = capsys.readouterr().out
    assert "recommended: " in said
    assert "linear model: AUROC" in said
    assert "research use only" in said


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("epochs = 2", "epoch = 2", "[training] has no key epoch"),
        ('kind = "binary"', 'kind = "binary"\ncolumn = "msi"', "no column msi"),
        ('labels = "labels.csv"', 'labels = "none.csv"', "the table of labels cannot be read"),
    ],
)
def test_what_cannot_be_run_is_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, words: str
) -> None:
    (folder / "toy.toml").write_text(TOML.replace(old, new))
    assert main(["train", str(folder / "toy.toml"), "--out", str(folder / "run")]) == 2
    said = capsys.readouterr()
    assert words in said.err
    assert said.err.count("\n") == 1
    assert str(folder) not in said.err
    assert not (folder / "run").exists()


def test_the_page_for_researchers_works_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "training.md").read_text()
    monkeypatch.chdir(tmp_path)
    for language, code in re.findall(r"<!-- run: training -->\n```(\w+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        if language == "toml":
            Path("experiment.toml").write_text(code)
        elif language == "python":
            exec(compile(code, "training.md", "exec"), {})  # noqa: S102 - the document is ours
        else:
            assert main(shlex.split(code)[1:]) == 0
    said = capsys.readouterr().out
    assert "recommended: " in said
    assert "(6, 60, 1)" in said


@pytest.mark.parametrize("name", ["msi", "response", "survival"])
def test_the_examples_can_be_read(name: str, data_dir: Path) -> None:
    experiment = read_experiment(ROOT / "docs" / "examples" / f"{name}.toml", data_dir)
    cohort = experiment.development(experiment.cohort())
    experiment.task.check(experiment.task.targets(cohort.table))
    assert len(cohort) > 150
