"""The score as a value, its gates, and the folder it is kept in."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biomarkers import BiomarkerError, Gate, GateError, ResultError, Score, load_card, read_result, verify_result
from biomarkers.gate import measure_gates, require_passed
from biomarkers.result import FILES, discard, staged_result, stored_score, write_report_json
from slides import Mpp
from tiling import NotEvaluableError, TileGrid, TileSpec, TissueMask


def score_of(value: float = 0.5) -> Score:
    return Score(
        score=value,
        category="uncut",
        biomarker={"name": "tissue-composition", "version": "1.0.0", "title": "T", "demonstration": False},
        slide={"id": "slide-0123456789ab", "size": [10, 20], "mpp": [0.5, 0.5], "warnings": []},
        tiles={"0.5": 3},
        gates=(Gate("tissue", 1.5, 0.5, "mm2"), Gate("tiles", 3.0, 2.0)),
        measures={"tumour_stroma_ratio": None, "classes": {"tumour": {"area_mm2": 1.0, "share": 0.5}}},
        seconds=1.25,
        provenance={"request": "r" * 64},
        files={"report_json": "report.json"},
    )


@given(value=st.floats(0, 1))
def test_a_score_comes_back_from_json_bit_for_bit(value: float) -> None:
    score = score_of(value)
    assert Score.from_json(json.loads(json.dumps(score.to_json(), allow_nan=False))) == score


def test_the_document_has_what_callers_rely_on() -> None:
    document = score_of().to_json()
    assert {"score", "category", "biomarker", "slide", "tiles", "gates", "seconds", "provenance", "files"} <= set(
        document
    )
    assert document["gates"] == [
        {"name": "tissue", "value": 1.5, "limit": 0.5, "unit": "mm2", "passed": True},
        {"name": "tiles", "value": 3.0, "limit": 2.0, "unit": "", "passed": True},
    ]
    assert document["notice"] == "Research use only. Not for diagnosis."


@pytest.mark.parametrize(
    "change",
    [{"extra": 1}, {"score": "high"}, {"score": None}, {"gates": 3}, {"gates": [{"name": "x"}]}, {"gates": [None]}],
    ids=str,
)
def test_a_damaged_document_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ResultError):
        Score.from_json({**score_of().to_json(), **change})
    with pytest.raises(ResultError, match="seconds"):
        Score.from_json({key: value for key, value in score_of().to_json().items() if key != "seconds"})


def keep(out: Path, score: Score) -> None:
    with staged_result(out) as folder:
        for name in FILES.values():
            if name != "report.json":
                (folder / name).write_text(name)
        write_report_json(folder, score)


def test_a_result_is_read_back_and_known_by_its_request(tmp_path: Path) -> None:
    keep(tmp_path, score_of())
    assert {path.name for path in tmp_path.iterdir()} == set(FILES.values())
    assert read_result(tmp_path) == stored_score(tmp_path, "r" * 64) == score_of()
    assert stored_score(tmp_path, "x" * 64) is None
    assert verify_result(tmp_path) == []


@pytest.mark.parametrize("name", sorted(set(FILES.values()) - {"report.json"}))
def test_a_missing_or_altered_file_is_named(tmp_path: Path, name: str) -> None:
    keep(tmp_path, score_of())
    (tmp_path / name).write_text("other")
    assert verify_result(tmp_path) == [name]
    (tmp_path / name).unlink()
    assert verify_result(tmp_path) == [name]
    assert stored_score(tmp_path, "r" * 64) is None
    with pytest.raises(ResultError, match=name):
        read_result(tmp_path)


def test_an_altered_score_is_noticed(tmp_path: Path) -> None:
    keep(tmp_path, score_of(0.25))
    report = tmp_path / "report.json"
    report.write_text(report.read_text().replace('"score": 0.25', '"score": 0.75'))
    assert verify_result(tmp_path) == ["report.json"]
    report.write_text("{")
    with pytest.raises(ResultError):
        verify_result(tmp_path)


def test_a_report_that_names_a_file_elsewhere_is_damaged(tmp_path: Path) -> None:
    out = tmp_path / "out"
    keep(out, score_of())
    (tmp_path / "secret").write_text("s")
    document = json.loads((out / "report.json").read_text())
    document["sha256"]["../secret"] = document["sha256"]["report.html"]
    (out / "report.json").write_text(json.dumps(document))
    assert verify_result(out) == ["report.json"]


def test_a_failure_while_writing_leaves_the_earlier_result_and_no_litter(tmp_path: Path) -> None:
    keep(tmp_path, score_of())

    def write_half() -> None:
        with staged_result(tmp_path) as folder:
            (folder / "report.html").write_text("half")
            raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        write_half()
    assert {path.name for path in tmp_path.iterdir()} == set(FILES.values())
    assert read_result(tmp_path) == score_of()


def test_the_report_appears_last_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "tiles.geojson").mkdir()  # the last file by name cannot be moved into place
    with pytest.raises(OSError, match=r"tiles\.geojson"):
        keep(tmp_path, score_of())
    assert not (tmp_path / "report.json").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_new_result_replaces_every_file_of_the_earlier_one(tmp_path: Path) -> None:
    keep(tmp_path, score_of())
    with staged_result(tmp_path) as folder:
        write_report_json(folder, score_of(0.75))
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_what_a_killed_process_left_is_swept_away(tmp_path: Path) -> None:
    for name, age in (("old", 3600.0), ("young", 0.0)):
        folder = tmp_path / f".result.staging-{name}"
        folder.mkdir()
        (folder / "report.html").write_text("half")
        os.utime(folder, (time.time() - age,) * 2)
    keep(tmp_path, score_of())
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [".result.staging-young"]


def test_discarding_leaves_what_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text('{"mine": true}')
    (tmp_path / "report.html").write_text("mine")
    discard(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"report.json", "report.html"}
    keep(tmp_path, score_of())
    (tmp_path / "notes.txt").write_text("mine")
    discard(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def grid_of(tiles: int) -> TileGrid:
    cells = np.stack([np.zeros(tiles, np.int32), np.arange(tiles, dtype=np.int32)], axis=1)
    whole = np.ones(tiles, np.float32)
    return TileGrid(TileSpec(0.5), Mpp.square(0.5), (0, 0), (1, tiles), cells, whole, np.full(tiles, -1, np.int64))


def test_gates_say_what_was_found_and_what_is_needed() -> None:
    card = load_card("tissue-composition")
    mask = TissueMask(np.ones((10, 10), np.bool_), (200.0, 200.0))  # 1 mm x 1 mm at 0.5 um/px
    passed = measure_gates(card, mask, grid_of(20))
    assert [(gate.value, gate.limit, gate.passed) for gate in passed] == [(1.0, 0.5, True), (20.0, 20.0, True)]
    require_passed(passed)
    card = dataclasses.replace(card, gates=dataclasses.replace(card.gates, min_tissue_mm2=2.0))
    with pytest.raises(GateError) as caught:
        require_passed(measure_gates(card, mask, grid_of(3)))
    assert str(caught.value) == (
        "too little can be judged: 1 mm2 of tissue, at least 2 needed; 3 tiles with tissue, at least 20 needed"
    )


def test_a_failed_gate_is_caught_as_not_evaluable() -> None:
    assert issubclass(GateError, NotEvaluableError)
    assert issubclass(GateError, BiomarkerError)
