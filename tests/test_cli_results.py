"""The commands that compute, on small drawn slides: documents, files, privacy, and runs again that compute nothing."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

from api.asking import ask_slide
from foundation.testing import TINY_TIMM, write_tiny_timm
from slides import Address
from slides.testing import write_slide

Run = Callable[..., tuple[dict[str, Any], Any]]
ROOT = Path(__file__).resolve().parents[1]
CANARY = "DOE_JOHN_19570312"


@pytest.fixture(scope="module")
def run(command: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs a command with --json and gives its document and itself."""
    folder = tmp_path_factory.mktemp("cwd")

    def run(*arguments: object, **more: str) -> tuple[dict[str, Any], Any]:
        done = command(*arguments, "--json", cwd=folder, **more)
        return json.loads(done.stdout), done

    return run


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A section scanned at 1 um/px: enough tissue for a score in few tiles."""
    return write_slide(tmp_path_factory.mktemp("slides") / f"{CANARY}.svs", size=(1600, 1300), mpp=1.0)


@pytest.fixture(scope="module")
def fine_slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slide(tmp_path_factory.mktemp("fine") / f"{CANARY}.svs", size=(1400, 1100), mpp=0.5)


@pytest.fixture(scope="module")
def scored(slide: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """A score by a process of its own, as its user has it."""
    out = tmp_path_factory.mktemp("results") / "one"
    options = ["--biomarker", "demo-response", "--out", str(out), "--json"]
    call, env = [sys.executable, "-m", "api.cli", "score", str(slide), *options], os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(call, cwd=out.parent, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert done.stderr == "", "no progress bar, no warnings when nobody looks"
    assert CANARY not in done.stdout
    return document, out


def test_score_document(scored: tuple[dict[str, Any], Path]) -> None:
    document, out = scored
    keys = {"score", "category", "biomarker", "slide", "tiles", "gates", "seconds", "provenance", "files", "notice"}
    assert keys <= set(document)
    assert 0 <= document["score"] <= 1
    assert document["biomarker"]["demonstration"] is True
    assert document["slide"]["mpp"] == [1.0, 1.0]
    assert document["tiles"]["1"] >= 10
    assert all(gate["passed"] for gate in document["gates"])
    assert {"report_json", "report_html", "tiles_geojson", "heatmap_png"} <= set(document["files"])
    for path in document["files"].values():
        assert Path(path).is_file()
        assert Path(path).parent == out
        assert CANARY.encode() not in Path(path).read_bytes()
    assert document["slide"]["content_hash"] == document["provenance"]["slide"]


def test_score_again_computes_nothing(run: Run, slide: Path, scored: tuple[dict[str, Any], Path]) -> None:
    document, out = scored
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    again, done = run("score", slide, "--biomarker", "demo-response", "--out", out)
    assert done.returncode == 0
    assert again == document
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before


def test_verify_names_what_is_damaged(run: Run, scored: tuple[dict[str, Any], Path]) -> None:
    document, out = scored
    whole, done = run("verify", out)
    assert (whole["whole"], whole["damaged"], done.returncode) == (True, [], 0)
    path = Path(document["files"]["heatmap_png"])
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    damaged, done = run("verify", out)
    path.write_bytes(data)
    assert (damaged["whole"], damaged["damaged"], done.returncode) == (False, [path.name], 1)


def test_tile_then_embed_then_ask_the_stores(run: Run, fine_slide: Path, tmp_path: Path) -> None:
    tiles, done = run("tile", fine_slide, "--out", tmp_path, "--mpp", "0.5", "--mpp", "1")
    assert done.returncode == 0, done.stderr
    assert {"store", "tiles", "seconds"} <= set(tiles)
    assert set(tiles["tiles"]) == {"0.5", "1"}
    assert tiles["tiles"]["0.5"] > 4
    embedded, done = run("embed", tiles["store"], "--encoder", "builtin", "--out", tmp_path, "--mpp", "0.5")
    assert done.returncode == 0, done.stderr
    assert embedded["tiles"] == {"0.5": tiles["tiles"]["0.5"]}
    assert run("verify", tiles["store"])[0]["whole"]
    assert run("verify", embedded["store"])[0]["whole"]
    asked = {name: run("ask", tiles[name], "--prompt", "stroma", "--out", tmp_path / name)[0] for name in ("store",)}
    again, done = run("ask", embedded["store"], "--prompt", "stroma", "--out", tmp_path / "again")
    assert done.returncode == 0, done.stderr
    assert again["prompts"][0]["score"] == asked["store"]["prompts"][0]["score"]
    assert CANARY not in done.stdout
    refused, done = run("ask", embedded["store"], "--mpp0", "0.5", "--prompt", "stroma", "--out", tmp_path / "again")
    assert (refused["state"], done.returncode) == ("failed", 2)


def test_store_without_pixels_sends_to_the_slide(run: Run, fine_slide: Path, tmp_path: Path) -> None:
    tiles, done = run("tile", fine_slide, "--out", tmp_path, "--mpp", "0.5", "--keep", "no")
    assert done.returncode == 0, done.stderr
    for command in (["embed", "--encoder", "builtin"], ["ask", "--prompt", "stroma"]):
        refused, done = run(*command, tiles["store"], "--out", tmp_path / "again")
        assert done.returncode == 2
        assert "on the slide instead" in refused["error"]["detail"]


def test_embed_needs_a_scale_where_the_encoder_states_none(run: Run, fine_slide: Path, tmp_path: Path) -> None:
    options = ["--encoder", TINY_TIMM, "--weights", write_tiny_timm(tmp_path / "weights.safetensors")]
    refused, done = run("embed", fine_slide, *options, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert refused["error"]["detail"] == "this encoder states no scale; give --mpp"
    assert not (tmp_path / "out").exists()


def test_embed_takes_a_slide(run: Run, fine_slide: Path, tmp_path: Path) -> None:
    document, done = run("embed", fine_slide, "--encoder", "builtin", "--out", tmp_path, "--mpp", "1", "--mpp0", "0.5")
    assert done.returncode == 0, done.stderr
    assert set(document["tiles"]) == {"1"}
    assert document["encoder"]["key"] == "builtin"
    assert Path(document["store"]).is_dir()


def test_ask_a_slide(run: Run, fine_slide: Path, tmp_path: Path) -> None:
    prompts = ["--prompt", "connective tissue", "--prompt", "Immune Cells"]
    document, done = run("ask", fine_slide, *prompts, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert document["closed_vocabulary"] is True
    assert "closed vocabulary" in document["note"].lower()
    assert [prompt["meaning"] for prompt in document["prompts"]] == ["stroma", "immune_cells"]
    written = json.loads((tmp_path / "answer.json").read_text())
    assert written["prompts"][0]["score"] == document["prompts"][0]["score"]
    for prompt in document["prompts"]:
        image = cv2.imread(prompt["files"]["heatmap_png"])
        assert image is not None
        assert image.shape[1] == 1280
        tiles = json.loads(Path(prompt["files"]["tiles_geojson"]).read_text())
        assert len(tiles["features"]) == document["tiles"]
    assert CANARY not in done.stdout
    assert written["prompts"][0]["heatmap_scale"][0] == 0.0
    foreign = [tmp_path / "prompt-notes.txt", tmp_path / "prompt-1.png.bak"]
    for path in foreign:
        path.write_text("the user's own")
    fewer = ask_slide(Address.of(fine_slide), ["stroma"], tmp_path)
    assert len(fewer["prompts"]) == 1
    for path in foreign:
        path.unlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "answer.json",
        "prompt-1.geojson",
        "prompt-1.png",
        "stages",
    ]


def rows_of(path: str) -> list[dict[str, str]]:
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def test_cohort_scores_the_good_and_lists_the_bad(run: Run, slide: Path, tmp_path: Path) -> None:
    write_slide(tmp_path / f"{CANARY}_glass.svs", size=(700, 500), kind="glass")
    (tmp_path / f"{CANARY}_text.svs").write_text("not a slide")
    rows = [("S1", slide, "P1"), ("S2", f"{CANARY}_glass.svs", "P2"), ("S3", f"{CANARY}_text.svs", "")]
    with (tmp_path / "cohort.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("slide", "path", "patient"), *rows])
    out = tmp_path / "out"
    document, done = run("cohort", tmp_path / "cohort.csv", "--biomarker", "demo-response", "--out", out)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert (document["slides"], document["scored"], document["not_evaluable"], document["failed"]) == (3, 1, 1, 1)
    status = rows_of(document["files"]["status_csv"])
    assert [(row["slide"], row["state"]) for row in status] == [
        ("S1", "scored"),
        ("S2", "not_evaluable"),
        ("S3", "failed"),
    ]
    assert all(row["reason"] for row in status[1:])
    scores = rows_of(document["files"]["scores_csv"])
    assert [(row["slide"], row["patient"]) for row in scores] == [("S1", "P1")]
    assert CANARY not in done.stdout + done.stderr + str(status) + str(scores)


def test_demo_without_network_says_that_it_draws(run: Run, tmp_path: Path) -> None:
    no_network = {"PIP_NO_INDEX": "1", "ONCOSCOPE_CACHE_DIR": str(tmp_path / "cache")}
    document, done = run("demo", "--out", tmp_path / "demo", **no_network)
    assert done.returncode == 0, done.stderr
    assert document["sample"]["real"] is False
    assert "drawn" in document["sample"]["source"]
    assert set(document["scores"]) == {"tissue-composition", "demo-response"}
    for score in document["scores"].values():
        assert "research use only" in Path(score["files"]["report_html"]).read_text().lower()
