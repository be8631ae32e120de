"""`oncoscope train` from the outside: the journey, its document, and one sentence for what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from api.cli import main

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
