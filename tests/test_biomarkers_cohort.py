"""A cohort of good and bad slides: the good are scored, the bad listed with reasons, a second run computes nothing."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from biomarkers import CohortResult, ManifestError, score_cohort
from biomarkers.card import load_card
from biomarkers.outcome import explain
from foundation.access import Access, chosen, configure
from slides.testing import write_slide
from tiling import Event, LocalPool, Needs, Outcome, WorkerKilledError
from tiling.pool import ANYWHERE

CANARY = "Doe^Jane-19700101"


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def snapshot(out: Path) -> dict[Path, int]:
    """When each file was last written; the tables are written by every run."""
    return {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file() and path.suffix != ".csv"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Slides whose names hold a patient's data, as they do in real life."""
    folder = tmp_path_factory.mktemp("cohort")
    good = write_slide(folder / f"{CANARY}-a.svs", size=(2600, 1700), seed=3)
    write_slide(folder / f"{CANARY}-b.svs", size=(2400, 1800), seed=5)
    shutil.copy(good, folder / f"{CANARY}-copy.svs")
    write_slide(folder / f"{CANARY}-glass.svs", kind="glass")
    write_slide(folder / f"{CANARY}-dark.svs", kind="fluorescence")
    write_slide(folder / f"{CANARY}-scaleless.svs", size=(2400, 1800), mpp=None, seed=7)
    (folder / f"{CANARY}-text.svs").write_text("no slide")
    (folder / f"{CANARY}-cut.svs").write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    names = ("a", "glass", "b", "missing", "dark", "copy", "scaleless", "text", "cut")
    lines = [f"{CANARY}-{name}.svs,,P-{number},CR" for number, name in enumerate(names)]
    lines.append(f"{CANARY}-scaleless.svs,0.5,P-9,PD")
    (folder / "manifest.csv").write_text("\n".join(["slide,mpp0,patient,response", *lines]) + "\n")
    return folder


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def first(folder: Path, out: Path) -> CohortResult:
    return score_cohort(folder / "manifest.csv", "tissue-composition", out)


def test_every_row_is_listed_in_order_with_its_state_and_reason(first: CohortResult, out: Path) -> None:
    rows = table(out / "status.csv")
    assert [row["row"] for row in rows] == [str(number) for number in range(1, 11)]
    assert [row["state"] for row in rows] == [
        "scored",
        "not_evaluable",
        "scored",
        "failed",
        "not_evaluable",
        "scored",
        "not_evaluable",
        "failed",
        "failed",
        "scored",
    ]
    words = ("", "tissue", "", "no file", "brightfield", "same slide as row 1", "scale", "not a slide", "", "")
    assert all(word in row["reason"] for word, row in zip(words, rows, strict=True))
    assert all(bool(row["reason"]) != (row["state"] == "scored") for row in rows if row["row"] != "6")
    assert rows[9]["mpp_source"] == "caller"
    assert all(row["notice"] == "Research use only. Not for diagnosis." for row in rows)
    assert not first.ok
    assert (first.count("scored"), first.count("not_evaluable"), first.count("failed")) == (4, 3, 3)


def test_slides_are_named_by_content_or_row_never_by_file(first: CohortResult, out: Path) -> None:
    names = [outcome.slide for outcome in first.outcomes]
    assert names[3] == "row-4"
    assert names[7] == "row-8"
    assert names[0] == names[5]
    assert all(name.startswith("slide-") for number, name in enumerate(names) if number not in {3, 7, 8})
    for path in out.rglob("*"):
        assert CANARY not in str(path.relative_to(out))
        assert not path.is_file() or CANARY.encode() not in path.read_bytes(), path.name
        assert not path.is_file() or b"Jane" not in path.read_bytes(), path.name


def test_scores_are_those_of_the_reports(first: CohortResult, out: Path) -> None:
    rows = table(out / "scores.csv")
    assert [row["patient"] for row in rows] == ["P-0", "P-2", "P-5", "P-9"]
    scored = [outcome for outcome in first.outcomes if outcome.score]
    for row, outcome in zip(rows, scored, strict=True):
        assert outcome.score is not None
        assert float(row["score"]) == outcome.score.score == float(row["immune_cells_share"])
        assert (out / outcome.result / "report.html").is_file()
        assert row["notice"] == "Research use only. Not for diagnosis."
        assert (row["biomarker"], row["version"], row["category"]) == ("tissue-composition", "1.0.0", "uncut")
        assert sum(
            float(value) for key, value in row.items() if key.endswith("_share") and key != "immune_share"
        ) == pytest.approx(1)
    assert rows[0]["score"] == rows[2]["score"]
    assert "response" not in rows[0]


def test_a_second_run_computes_nothing_and_says_the_same(first: CohortResult, folder: Path, out: Path) -> None:
    before, tables = snapshot(out), [(out / name).read_bytes() for name in ("status.csv", "scores.csv")]
    assert (first.computed, first.reused) == (5, 2)
    again = score_cohort(folder / "manifest.csv", "tissue-composition", out)
    assert (again.computed, again.reused) == (0, 7)
    assert snapshot(out) == before
    assert [(out / name).read_bytes() for name in ("status.csv", "scores.csv")] == tables


def test_what_failed_is_tried_again_and_only_that_is_computed(first: CohortResult, folder: Path, out: Path) -> None:
    repaired = folder / f"{CANARY}-missing.svs"
    write_slide(repaired, size=(2500, 1700), seed=11)
    try:
        result = score_cohort(folder / "manifest.csv", "tissue-composition", out)
    finally:
        repaired.unlink()
    assert first.outcomes[3].state == "failed"
    assert result.outcomes[3].state == "scored"
    assert result.computed == 1


def test_the_document_counts(first: CohortResult) -> None:
    assert first.to_json() == {
        "slides": 10,
        "scored": 4,
        "not_evaluable": 3,
        "failed": 3,
        "computed": 5,
        "reused": 2,
        "files": {"status_csv": "status.csv", "scores_csv": "scores.csv"},
    }


def named_manifest(folder: Path, to: Path, text: str) -> Path:
    to.write_text(text.replace("@", str(folder / CANARY)))
    return to


def test_ids_of_the_researcher_are_echoed(folder: Path, out: Path, tmp_path: Path) -> None:
    manifest = named_manifest(
        folder, tmp_path / "m.csv", "slide,path\nCASE-1,@-a.svs\nCASE-2,@-copy.svs\nCASE-3,@-text.svs\n"
    )
    stages = tmp_path / "out" / "stages"
    shutil.copytree(out / "stages", stages)
    events: list[Event] = []
    result = score_cohort(manifest, "tissue-composition", tmp_path / "out", progress=events.append)
    assert [(row.slide, row.state) for row in result.outcomes] == [
        ("CASE-1", "scored"),
        ("CASE-2", "scored"),
        ("CASE-3", "failed"),
    ]
    assert result.outcomes[1].result == "slides/CASE-1"
    assert "CASE-1" in (tmp_path / "out" / "slides" / "CASE-1" / "report.html").read_text()
    assert [event.slides_done for event in events] == [1, 2, 3]
    assert {event.slides for event in events} == {3}
    score = result.outcomes[0].score
    assert score is not None
    assert [event.tiles_done for event in events] == [0, *[sum(score.tiles.values())] * 2]


def test_an_error_that_is_not_ours_is_told_by_its_class_alone(folder: Path, out: Path, tmp_path: Path) -> None:
    results = tmp_path / "out"
    shutil.copytree(out / "stages", results / "stages")
    (results / "slides").mkdir()
    (results / "slides" / "CASE-1").write_text("a file where a folder should be")
    manifest = named_manifest(folder, tmp_path / "m.csv", "slide,path\nCASE-1,@-a.svs\nCASE-2,@-b.svs\n")
    result = score_cohort(manifest, "tissue-composition", results)
    assert [row.state for row in result.outcomes] == ["failed", "scored"]
    assert result.outcomes[0].reason.startswith("internal error: ")
    assert "/" not in result.outcomes[0].reason
    assert explain(RuntimeError("/home/jane")) == ("failed", "internal error: RuntimeError")


class DyingPool(LocalPool):
    """A pool whose workers die of one row, as a decoder's crash kills a process."""

    def outcomes(
        self, function: Callable[[Any], Any], items: Iterable[Any], needs: Needs = ANYWHERE
    ) -> Iterator[Outcome[Any]]:
        for item in items:
            if getattr(item, "id", "") == "CASE-2":
                yield Outcome(error=WorkerKilledError("a worker died each time; the task was given up"))
            else:
                yield from super().outcomes(function, [item], needs)


def test_a_worker_that_dies_costs_one_row(folder: Path, out: Path, tmp_path: Path) -> None:
    shutil.copytree(out / "stages", tmp_path / "out" / "stages")
    text = "slide,path\nCASE-1,@-a.svs\nCASE-2,@-b.svs\nCASE-3,@-glass.svs\n"
    with DyingPool() as pool:
        result = score_cohort(
            named_manifest(folder, tmp_path / "m.csv", text), "tissue-composition", tmp_path / "out", pool
        )
    assert [row.state for row in result.outcomes] == ["scored", "failed", "not_evaluable"]
    assert "died" in result.outcomes[1].reason


class FreshPool(LocalPool):
    """A pool whose workers know nothing of what this process was told, as processes of their own."""

    def outcomes(
        self, function: Callable[[Any], Any], items: Iterable[Any], needs: Needs = ANYWHERE
    ) -> Iterator[Outcome[Any]]:
        told = chosen()
        for item in items:
            configure(Access())
            try:
                yield from super().outcomes(function, [item], needs)
            finally:
                configure(told)


@pytest.mark.usefixtures("first")
def test_workers_hold_the_policy_of_who_sends_them(folder: Path, out: Path, tmp_path: Path) -> None:
    shutil.copytree(out / "stages", tmp_path / "out" / "stages")
    card = replace(load_card("tissue-composition"), encoder="uni")
    manifest = named_manifest(folder, tmp_path / "m.csv", "slide,path\nCASE-1,@-a.svs\n")
    configure(Access(policy="commercial"))
    try:
        with FreshPool() as pool:
            (row,) = score_cohort(manifest, card, tmp_path / "out", pool).outcomes
    finally:
        configure(Access())
    assert "CC-BY-NC-ND-4.0" in row.reason


def test_one_slide_at_two_scales_needs_names(folder: Path, out: Path, tmp_path: Path) -> None:
    shutil.copytree(out / "stages", tmp_path / "out" / "stages")
    text = "slide,mpp0\n@-a.svs,\n@-a.svs,0.25\n"
    result = score_cohort(named_manifest(folder, tmp_path / "m.csv", text), "tissue-composition", tmp_path / "out")
    assert [row.state for row in result.outcomes] == ["scored", "failed"]
    assert result.outcomes[1].reason == "row 1 is the same slide with another scale"


def test_a_bad_manifest_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path\nx\n")
    with pytest.raises(ManifestError):
        score_cohort(tmp_path / "m.csv", "tissue-composition", tmp_path / "out")
    assert not (tmp_path / "out").exists()
