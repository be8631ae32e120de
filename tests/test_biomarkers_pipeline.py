"""From a slide to a score, with the real encoder and the real heads."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from torch import Tensor

from biomarkers import FolderInUseError, GateError, Score, load_card, read_result, score, verify_result
from biomarkers.provenance import request_fingerprint
from biomarkers.reading import read
from foundation import Embeddings
from mil.head import HeadOutput
from mil.heads.abmil import AbmilHead
from slides import Address, MissingMppError, NotASlideError, open_slide
from slides.testing import write_slide
from tiling import NotBrightfieldError, NotEvaluableError, NoTissueError, TileStore, verify_manifest

CANARY = "Doe^Jane-19700101"
FILES = {"report.json", "report.html", "tiles.geojson", "heatmap.png", "classes.png", "thumbnail.png"}


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slide(tmp_path_factory.mktemp(CANARY) / f"{CANARY}.svs", size=(2600, 1700), mpp=0.5, seed=3)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("out")


@pytest.fixture(scope="module")
def scored(slide: Path, out: Path) -> Score:
    return score(slide, "tissue-composition", out)


@pytest.fixture(scope="module")
def demo(slide: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Score, Path]:
    folder = tmp_path_factory.mktemp("demo")
    return score(slide, "demo-response", folder), folder


def test_all_files_stand_in_the_result(scored: Score, out: Path) -> None:
    assert {path.name for path in out.iterdir() if path.is_file()} == FILES == set(scored.files.values())
    assert verify_result(out) == []
    assert read_result(out) == scored
    assert json.loads((out / "report.json").read_text())["score"] == scored.score


def test_the_score_is_the_immune_share_and_the_classes_add_up(scored: Score) -> None:
    classes = scored.measures["classes"]
    assert isinstance(classes, dict)
    assert scored.score == classes["immune_cells"]["share"]
    assert 0 < scored.score < 1
    assert sum(entry["share"] for entry in classes.values()) == pytest.approx(1)
    assert sum(entry["area_mm2"] for entry in classes.values()) == pytest.approx(scored.measures["analysed_tissue_mm2"])
    assert scored.category == "uncut"
    assert scored.measures["surrogate"] == "tile classifier surrogate; published cut-offs not transferable"


def test_analysed_tissue_is_near_the_tissue_of_the_mask(scored: Score) -> None:
    tissue = next(gate.value for gate in scored.gates if gate.name == "tissue")
    assert 0.75 * tissue < float(str(scored.measures["analysed_tissue_mm2"])) <= 1.001 * tissue


def test_the_chain_of_fingerprints_leads_to_the_stores(scored: Score, out: Path, slide: Path) -> None:
    chain = scored.provenance
    tiles = TileStore.open(out / "stages" / f"{chain['tiles']}.tiles.zarr")
    embeddings = Embeddings.open(out / "stages" / f"{chain['embeddings']}.embeddings.zarr")
    assert embeddings.tiles_fingerprint == tiles.fingerprint == chain["tiles"]
    assert tiles.info.content_hash == chain["slide"] == scored.slide["content_hash"]
    assert verify_manifest(tiles.path) == verify_manifest(embeddings.path) == []
    with open_slide(slide) as opened:
        assert chain["request"] == request_fingerprint(opened.info, load_card("tissue-composition"))
    assert len({str(chain[name]) for name in ("slide", "tiles", "embeddings", "card", "score", "request")}) == 6


def test_a_second_run_returns_the_same_without_touching_a_file(scored: Score, out: Path, slide: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    started = time.monotonic()
    assert score(slide, "tissue-composition", out) == scored
    assert time.monotonic() - started < 2
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_a_damaged_result_is_made_again_from_its_stages(scored: Score, slide: Path, out: Path, tmp_path: Path) -> None:
    again = score(slide, "tissue-composition", tmp_path, stages=out / "stages")
    (tmp_path / "heatmap.png").write_bytes(b"damaged")
    calls: list[tuple[int, int]] = []
    healed = score(slide, "tissue-composition", tmp_path, stages=out / "stages", progress=lambda *at: calls.append(at))
    assert healed.score == again.score == scored.score
    assert healed.measures == scored.measures
    assert verify_result(tmp_path) == []
    assert not calls, "nothing was embedded again"


def test_another_scale_is_another_request_with_areas_that_follow_it(scored: Score, slide: Path, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    found = score(Address.of(slide, 0.48), "tissue-composition", tmp_path, progress=lambda *at: calls.append(at))
    tissue = [next(gate.value for gate in one.gates if gate.name == "tissue") for one in (found, scored)]
    assert tissue[0] == pytest.approx(tissue[1] * 0.96**2, rel=0.05)
    assert found.slide["mpp_source"] == "caller"
    assert found.provenance["request"] != scored.provenance["request"]
    assert calls[-1] == (found.tiles["0.5"], found.tiles["0.5"])


def test_geojson_and_maps_cover_the_tiles(scored: Score, out: Path) -> None:
    tiles = json.loads((out / "tiles.geojson").read_text())["features"]
    assert len(tiles) == scored.tiles["0.5"]
    immune = np.mean([tile["properties"]["measurements"]["share of immune_cells"] for tile in tiles])
    assert immune == pytest.approx(scored.score, abs=0.1)
    thumbnail, heat = (cv2.imread(str(out / name), cv2.IMREAD_UNCHANGED) for name in ("thumbnail.png", "heatmap.png"))
    assert thumbnail is not None
    assert heat is not None
    assert heat.shape == (*thumbnail.shape[:2], 4)


def test_the_demonstration_says_so_on_every_output(demo: tuple[Score, Path]) -> None:
    found, folder = demo
    assert 0 <= found.score <= 1
    assert found.biomarker["demonstration"] is True
    assert found.category in {"planted-signal-unlikely", "planted-signal-likely"}
    for name in found.files.values():
        assert b"emonstration" in (folder / name).read_bytes(), name
        assert b"Research use only" in (folder / name).read_bytes(), name


def test_every_output_says_research_use_only(scored: Score, out: Path) -> None:
    for name in scored.files.values():
        assert b"Research use only" in (out / name).read_bytes(), name
        assert b"Demonstration:" not in (out / name).read_bytes(), name


def test_contributions_are_in_the_tiles_of_the_demonstration(demo: tuple[Score, Path]) -> None:
    found, folder = demo
    tiles = json.loads((folder / "tiles.geojson").read_text())["features"]
    label = "contribution of the tile to the logit (demonstration)"
    values = [tile["properties"]["measurements"][label] for tile in tiles]
    assert len(values) == found.tiles["1"]
    assert len(set(values)) > 1


def test_how_faithful_the_map_is_stands_beside_it(demo: tuple[Score, Path]) -> None:
    found, folder = demo
    assert found.measures["explanation"] == "contribution"
    area, chance, deviation = (
        float(str(found.measures[f"faithfulness{name}"])) for name in ("", "_random", "_random_sd")
    )
    assert area > chance + 2 * deviation
    assert "Faithfulness" in (folder / "report.html").read_text()


def test_a_head_that_is_no_sum_over_tiles_is_drawn_by_leaving_each_out(
    demo: tuple[Score, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = AbmilHead.pool

    def silent(head: AbmilHead, features: Tensor, mask: Tensor, *, explain: bool) -> HeadOutput:
        return HeadOutput(pool(head, features, mask, explain=explain).logits, None, None)

    monkeypatch.setattr(AbmilHead, "pool", silent)
    found, folder = demo
    (place,) = folder.rglob("*.embeddings.zarr")
    (store,) = folder.rglob("*.tiles.zarr")
    card = load_card("demo-response")
    reading = read(card, Embeddings.open(place), TileStore.open(store).grid(1.0))
    assert reading.score == found.score
    assert reading.heat_label == "what the logit loses without the tile"
    assert reading.measures["explanation"] == "leave-one-out"
    assert len(reading.heat) == found.tiles["1"]


def test_nothing_of_the_file_name_is_in_any_output(scored: Score, out: Path, demo: tuple[Score, Path]) -> None:
    assert scored.score == read_result(out).score
    for path in [*out.rglob("*"), *demo[1].rglob("*")]:
        assert CANARY not in path.name
        assert not path.is_file() or CANARY.encode() not in path.read_bytes()


@pytest.mark.parametrize(
    ("kind", "mpp", "error"),
    [("glass", 0.5, NoTissueError), ("fluorescence", 0.5, NotBrightfieldError), ("tissue", None, MissingMppError)],
)
def test_what_cannot_be_judged_leaves_no_result(
    tmp_path: Path, kind: str, mpp: float | None, error: type[Exception]
) -> None:
    path = write_slide(tmp_path / f"{CANARY}.svs", size=(1800, 1400), mpp=mpp, kind=kind)  # type: ignore[arg-type]
    with pytest.raises(error) as caught:
        score(path, "tissue-composition", tmp_path / "out")
    assert CANARY not in str(caught.value)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_too_little_tissue_fails_the_gate_before_anything_is_embedded(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "small.svs", size=(900, 700), seed=1)
    with pytest.raises(GateError, match=r"mm2 of tissue, at least 0\.5 needed"):
        score(path, "tissue-composition", tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.embeddings.zarr"))
    assert not list((tmp_path / "out").glob("*.*"))


def test_a_result_does_not_outlive_the_refusal_of_its_slide(
    scored: Score, slide: Path, tmp_path: Path, out: Path
) -> None:
    again = score(slide, "tissue-composition", tmp_path / "out", stages=out / "stages")
    assert again.score == scored.score
    with pytest.raises(NotEvaluableError):  # at this scale the same pixels are hardly any tissue
        score(Address.of(slide, 0.1), "tissue-composition", tmp_path / "out")
    assert not (tmp_path / "out" / "report.json").exists()


def test_the_result_of_another_slide_is_never_replaced(scored: Score, out: Path, tmp_path: Path) -> None:
    other = write_slide(tmp_path / f"{CANARY}.svs", kind="glass")
    with pytest.raises(FolderInUseError, match="another slide; choose another --out"):
        score(other, "tissue-composition", out)
    (tmp_path / "no.svs").write_text("no slide")
    with pytest.raises(NotASlideError):
        score(tmp_path / "no.svs", "tissue-composition", out)
    assert verify_result(out) == []
    assert read_result(out) == scored


def test_a_slide_that_was_scanned_again_under_its_name_takes_the_place_of_the_first(
    scored: Score, slide: Path, tmp_path: Path, out: Path
) -> None:
    first = score(slide, "tissue-composition", tmp_path / "S-1", slide_id="S-1", stages=out / "stages")
    assert first.score == scored.score
    with pytest.raises(NotEvaluableError):
        score(write_slide(tmp_path / "b.svs", kind="glass"), "tissue-composition", tmp_path / "S-1", slide_id="S-1")
    assert not (tmp_path / "S-1" / "report.json").exists()


def test_what_the_tiles_depend_on_is_part_of_the_request(slide: Path) -> None:
    card = load_card("tissue-composition")
    with open_slide(slide) as opened:
        info = opened.info
    others = [replace(info, reader="another"), replace(info, mpp_source="caller")]
    requests = {request_fingerprint(one, card) for one in (info, *others)}
    requests |= {request_fingerprint(info, replace(card, px=card.px * 2)), request_fingerprint(info, card, "S-1")}
    assert len(requests) == 5
