"""What is doubtful about a slide is said on standard error, once, whatever the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from api.cli import main
from api.cli.reply import Reply, write_reply
from slides.testing import write_slide


def test_each_warning_once(capsys: pytest.CaptureFixture[str]) -> None:
    write_reply(Reply({"a": 1}, "text", warnings=("doubtful", "odd", "doubtful")), as_json=True)
    said = capsys.readouterr()
    assert said.err.splitlines() == ["oncoscope: warning: doubtful", "oncoscope: warning: odd"]
    assert json.loads(said.out)["a"] == 1


def test_a_scale_that_contradicts_the_header_is_said_aloud(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_slide(tmp_path / "s.svs", size=(2000, 1500))
    assert main(["tile", str(path), "--mpp0", "0.25", "--mpp", "0.5", "--out", str(tmp_path / "out"), "--json"]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert len(said) == 2
    assert "objective power of 20x" in said[0]
    assert "the header 0.5 um/px" in said[1]
