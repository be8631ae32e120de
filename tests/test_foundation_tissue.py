"""The tissue heads that ship: whole, honest about themselves, and as good on real patches as their cards say."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from foundation import TISSUES, ContractError, TissueHead, WeightsMismatchError, list_encoders, load_encoder
from foundation.registry import DEFAULT_ENCODER
from foundation.testing import write_embeddings
from foundation.tissue import HEADS
from tools._default_data import Patches
from tools.tissue_bank import Bank, by_block, load_bank, split_of
from tools.tissue_mosaics import KINDS, augment, draw, mirrored, scaled
from tools.tissue_plans import PLANS

FOLDER = files("foundation")


@pytest.fixture(scope="module", params=HEADS)
def head(request: pytest.FixtureRequest) -> TissueHead:
    return TissueHead.for_encoder(request.param)


def test_the_default_encoder_has_a_head_and_the_demonstration_keeps_its_own() -> None:
    assert DEFAULT_ENCODER in HEADS
    assert TissueHead.load().card["encoder"]["key"] == "builtin"


def test_an_encoder_without_a_head_is_told_which_have_one() -> None:
    with pytest.raises(ContractError, match=r"'uni'; there is one for 'builtin' and 'tissue-lite0'"):
        TissueHead.for_encoder("uni")


def test_the_head_that_fits_a_slide_is_found_by_encoder_weights_and_zoom(tmp_path: Path) -> None:
    head = TissueHead.for_encoder("tissue-lite0")
    made_by = {"family": "adapted", **head.card["encoder"]}
    features = {mpp: np.zeros((4, 1280), np.float32) for mpp in (0.25, 1.0)}
    slide = write_embeddings(tmp_path / "ours", features, made_by)
    assert TissueHead.fitting(slide, 0.25).weights_digest == head.weights_digest
    with pytest.raises(ContractError, match=r"0\.25, 0\.5 um/px"):
        TissueHead.fitting(slide, 1.0)
    other = write_embeddings(tmp_path / "other", features, made_by | {"weights_digest": "0" * 64})
    with pytest.raises(ContractError, match="weights digest differs"):
        TissueHead.fitting(other, 0.25)


def test_shares_are_shares(head: TissueHead) -> None:
    features = np.random.default_rng(0).normal(0, 1, (5000, 1280)).astype(np.float16)
    shares = head.shares(features)
    assert (shares.shape, head.names) == ((5000, 12), TISSUES)
    assert shares.dtype == np.float32
    assert np.abs(shares.sum(axis=1) - 1).max() < 1e-5
    assert (shares >= 0).all()
    assert np.array_equal(head.shares(features[4990:]), shares[4990:])
    assert np.array_equal(head.logits(features).argmax(axis=1), shares.argmax(axis=1))
    assert head.shares(features[:0]).shape == (0, 12)


def test_features_of_another_width_are_refused(head: TissueHead) -> None:
    with pytest.raises(ContractError, match=r"\[N, 1280\]"):
        head.shares(np.zeros((2, 512), np.float32))


def test_the_card_is_of_this_encoder(head: TissueHead) -> None:
    spec = next(spec for spec in list_encoders() if spec.key == head.card["encoder"]["key"])
    assert head.card["encoder"]["weights_digest"] == spec.weights_sha256
    assert head.card["encoder"]["preprocessing_digest"] == spec.preprocessing_digest
    assert "Research use only" in head.card["notice"]
    assert head.card["weights_sha256"] == head.weights_digest
    assert (head.card["px"], head.card["mpp"]) == (spec.px, list(spec.mpp[:2]))


def test_the_model_card_says_what_the_json_says(head: TissueHead) -> None:
    text = FOLDER.joinpath(f"{HEADS[head.card['encoder']['key']]}.md").read_text(encoding="utf-8")
    assert head.card["citation"] in text
    assert all(caveat in text for caveat in head.card["caveats"])
    for part in head.card["figures"].values():
        assert f"{part['single_patch_balanced_accuracy']:.3f}" in text


@pytest.mark.parametrize("change", ["weights", "digest", "names", "key", "json"])
def test_files_that_do_not_belong_together_are_refused(change: str) -> None:
    files_of = FOLDER.joinpath("tissue_head_lite0.safetensors"), FOLDER.joinpath("tissue_head_lite0.json")
    weights, text = files_of[0].read_bytes(), files_of[1].read_text(encoding="utf-8")
    card = json.loads(text)
    if change == "weights":
        weights = weights[:-1] + bytes([weights[-1] ^ 1])
    card |= {"weights_sha256": "0" * 64} if change == "digest" else {}
    card |= {"names": card["names"][::-1]} if change == "names" else {}
    card |= {"another": 1} if change == "key" else {}
    with pytest.raises(WeightsMismatchError):
        TissueHead.read(weights, "{" if change == "json" else json.dumps(card))


def test_a_patch_is_in_one_split() -> None:
    names = [f"stroma_{i:04d}.jpg" for i in range(2000)]
    counts = {split: sum(split_of(name) == split for name in names) for split in ("train", "validation", "test")}
    assert sum(counts.values()) == 2000
    assert abs(counts["train"] - 1200) < 80
    assert abs(counts["test"] - 400) < 60


def test_what_judges_the_encoder_judges_its_head() -> None:
    """None of the encoder's test patches may train a head, or its figures are of patches it was told of."""
    paths = [Path(f"stroma_{i:04d}.jpg") for i in range(137)]
    patches = Patches(np.zeros((137, 1, 1, 3), np.uint8), np.zeros(137, np.int64), np.arange(137) / 137)
    for part in ("train", "validation", "test"):
        ours = [i / 137 for i, name in enumerate(by_block(paths)) if name == part]
        assert ours == patches.part(part).places.tolist()
    assert PLANS["tissue-lite0"].splitter is by_block


@pytest.mark.parametrize("key", PLANS)
def test_mosaics_state_their_shares(key: str) -> None:
    field = PLANS[key].field
    flat = tuple(np.full((2, field.cell, field.cell, 3), 20 * k, np.uint8) for k in range(len(TISSUES)))
    maps = (np.random.default_rng(0).integers(-1, 12, (40, 40)).astype(np.int16),)
    for kind in KINDS:
        for mpp in field.mpp:
            rng = np.random.default_rng(1)
            for _ in range(10):
                tile, shares = draw(Bank(field, flat, maps), kind, mpp, rng)
                assert tile.shape == augment(tile, rng).shape == (field.px, field.px, 3)
                assert shares.sum() == pytest.approx(1)
                if mpp == field.mpp[0]:  # no pixel was resampled, so every one names its class
                    tissue = tile[..., 0] <= 220  # glass is brighter
                    seen = np.bincount(tile[..., 0][tissue] // 20, minlength=12) / tissue.sum()
                    assert np.abs(seen - shares).max() < 1e-6


def test_the_figure_for_single_patches_holds(head: TissueHead, data_dir: Path) -> None:
    key = head.card["encoder"]["key"]
    field, encoder = PLANS[key].field, load_encoder(key)
    bank = load_bank(data_dir, "test", field, PLANS[key].splitter)
    start = round(0.4 * field.cell) if field.px > field.cell else 0
    recall = []
    for label, patches in enumerate(bank.patches):
        tiles = np.stack([scaled(mirrored(patch, field.px, start), field) for patch in patches[:16]])
        found = head.shares(encoder.encode(tiles).astype(np.float16)).argmax(axis=1)
        recall.append(float((found == label).mean()))
    stated = head.card["figures"][f"{field.mpp[0]:g}"]["single_patch_balanced_accuracy"]
    assert abs(np.mean(recall) - stated) < 0.1  # 16 patches a class of the whole test split
