"""`oncoscope tune` says what it found, to people and to scripts, and complains in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from api.cli import main
from mil import Bag
from mil.cohort.write import write_bags

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
[tune]
inner = 2
nested = true
[tune.space]
"training.lr" = {choices = [1e-3, 1e-2]}
"""


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    """An experiment and its data."""
    rng = np.random.default_rng(0)
    bags = [Bag(f"s{i}", rng.normal(size=(3, 4)).astype(np.float32), np.zeros((3, 2), np.int64)) for i in range(40)]
    write_bags(tmp_path / "bags.npz", bags)
    rows = [f"s{i},p{i},c,{i % 2}" for i in range(40)]
    (tmp_path / "labels.csv").write_text("\n".join(["slide_id,patient,centre,label", *rows]) + "\n")
    (tmp_path / "small.toml").write_text(TOML)
    return tmp_path / "small.toml"


def test_people_read_the_winner_and_what_tuning_is_worth(toml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune", str(toml), "--out", str(toml.parent / "out"), "--trials", "1"]) == 0
    text = capsys.readouterr().out
    assert "1 trials in" in text
    assert "training.lr = " in text
    assert "outer folds, which no search saw: tuned" in text
    assert "research use only" in text.lower()


def test_scripts_read_one_document(toml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["tune", str(toml), "--out", str(toml.parent / "out"), "--trials", "1", "--json"]
    assert main(call) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["winner"]["number"] == 0
    assert Path(document["files"]["best"]).is_file()


def test_a_plan_that_lacks_its_table_is_one_sentence(toml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toml.write_text(TOML.split("[tune]", maxsplit=1)[0])
    assert main(["tune", str(toml), "--out", str(toml.parent / "out")]) != 0
    assert "the table [tune] is missing" in capsys.readouterr().err
