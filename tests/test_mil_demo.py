"""The demonstration head that ships, and the truth that it is judged by."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biomarkers import load_card
from foundation import list_encoders
from mil import Bag, load_fit, predict
from tools import train_demo_response
from tools.demo_bags import Known, figures
from tools.demo_card import write_card
from tools.demo_slides import (
    CELL_PX,
    DEFAULT_CELLS,
    IMMUNE,
    TEST_MAPS,
    TRAIN_MAPS,
    VALIDATION_MAPS,
    Plan,
    disc,
    make,
    proof_plan,
    tile_shares,
    training_plan,
    validation_plan,
)

HEAD = load_card("demo-response").head_dir
ROOT = Path(__file__).resolve().parents[1]


def test_the_head_that_ships_is_the_one_its_card_describes() -> None:
    fitted = load_fit(HEAD)
    card = json.loads((HEAD / "model_card.json").read_text())
    assert fitted.digest == card["digest"]
    assert fitted.digest in (HEAD / "MODEL_CARD.md").read_text()
    assert "means nothing clinically" in card["warning"]
    assert card["test"]["head"] == fitted.digest
    assert card["test"]["auroc"] >= 0.95
    builtin = next(spec for spec in list_encoders() if spec.key == "builtin")
    assert fitted.encoder == f"builtin@{builtin.weights_sha256}"
    assert fitted.mpp == (1.0,)


def test_the_head_that_ships_explains_itself() -> None:
    fitted = load_fit(HEAD)
    features = np.random.default_rng(0).normal(size=(9, 1280)).astype(np.float32)
    prediction = predict(fitted, Bag("a", features, np.zeros((9, 2), np.int64), mpp=fitted.mpp, encoder=fitted.encoder))
    assert prediction.contributions is not None
    assert prediction.contributions.sum() + float(fitted.head.bias[0]) == pytest.approx(prediction.logit, abs=1e-4)


def test_no_map_or_seed_is_on_two_sides(data_dir: Path) -> None:
    sides = [training_plan(data_dir / "tissue_maps.npz"), validation_plan(), proof_plan()]
    maps = [{plan.map for plan in side} for side in sides]
    assert maps == [set(TRAIN_MAPS), set(VALIDATION_MAPS), set(TEST_MAPS)]
    seeds = [{plan.seed for plan in side} for side in sides]
    assert not seeds[0] & seeds[1]
    assert not seeds[2] & (seeds[0] | seeds[1])
    assert all(sum(plan.planted for plan in side) * 2 == len(side) for side in sides)
    assert all(len({plan.name for plan in side}) == len(side) for side in sides)
    assert len(sides[2]) == 40
    assert {plan.cells for plan in sides[2]} == {DEFAULT_CELLS}


@given(st.integers(0, 99), st.integers(1, 9), st.integers(1, 9), st.floats(60, 900))
def test_tile_shares_count_the_cells_whose_centre_is_in_the_tile(seed: int, rows: int, cols: int, side: float) -> None:
    rng = np.random.default_rng(seed)
    cells, tissue = rng.random((2, rows, cols)) < 0.5
    coords = rng.integers(-200, 1200, (5, 2))
    y, x = (np.indices((rows, cols)) + 0.5) * CELL_PX
    for (left, top), share in zip(coords, tile_shares(cells, tissue, coords, side), strict=True):
        mine = tissue & (x >= left) & (x < left + side) & (y >= top) & (y < top + side)
        assert share == pytest.approx((cells & mine).sum() / max(1, mine.sum()))


def test_the_disc_is_where_the_maker_planted(data_dir: Path, tmp_path: Path) -> None:
    """The nodule is found by the truth of the plain twin, which shares map and size."""
    tools = data_dir.parent / "tools"
    if not (tools / "make_slide.py").exists():
        pytest.skip("the maker of slides is not on this machine")
    truth = []
    for planted in (True, False):
        slide = make(Plan(12, "40x40", "rgb444", 5, planted), tools, data_dir, tmp_path)
        truth.append(np.load(slide.with_suffix(".truth.npz"))["classes"])
    inside, tissue = disc(truth[0] > 0, 5), truth[1] > 0
    assert np.array_equal(truth[0][~inside], truth[1][~inside])
    assert 0.7 < (truth[0] == IMMUNE)[inside & tissue].mean() <= 1
    assert not list(tmp_path.glob("*.part*"))


def toy(count: int, seed: int) -> list[Known]:
    """Bags whose first five tiles are moved in the planted ones, as a nodule would move them."""
    rng, known = np.random.default_rng(seed), []
    for i in range(count):
        features = rng.normal(size=(20, 6)).astype(np.float32)
        marked = (np.arange(20) < 5).astype(np.float64)
        features[:5] += 3 * (i % 2)
        bag = Bag(f"{i}", features, np.zeros((20, 2), np.int64), float(i % 2), mpp=(1.0,), encoder="toy@0")
        known.append(Known(bag, marked, marked))
    return known


def test_the_trainer_chooses_saves_and_describes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_demo_response, "CANDIDATES", train_demo_response.CANDIDATES[:2])
    monkeypatch.setattr(train_demo_response, "BASELINE", train_demo_response.BASELINE[:1])
    held = toy(20, 2)
    found = train_demo_response.train_all(toy(40, 1), held, tmp_path)
    fitted = load_fit(tmp_path)
    assert figures(fitted, held) == found["gated attention (shipped)"]
    assert min(found["gated attention (shipped)"].values()) > 0.8
    write_card(tmp_path, fitted, {"train": 40, "validation": 20}, found, {"head": "of another head", "auroc": 1.0})
    card = json.loads((tmp_path / "model_card.json").read_text())
    assert card["test"] is None
    assert card["digest"] == fitted.digest
    assert "Not run for this head yet" in (tmp_path / "MODEL_CARD.md").read_text()


def test_a_proof_that_proved_nothing_is_not_green(tmp_path: Path) -> None:
    call = [sys.executable, "-m", "proofs.prove_planted_signal", f"--tools={tmp_path}", f"--data={tmp_path}"]
    done = subprocess.run([*call, f"--work={tmp_path}"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("nothing was proved: make_slide.py, tissue_maps.npz, patches not found")
