"""The tissue head that ships: whole, honest about itself, and as good on real patches as its card says."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from foundation import TISSUES, ContractError, TissueHead, WeightsMismatchError, list_encoders, load_encoder
from foundation.tissue import CARD, WEIGHTS
from tools.tissue_mosaics import CELL, KINDS, PX, Bank, augment, draw, load_bank, mirrored, split_of

FOLDER = files("foundation")


@pytest.fixture(scope="module")
def head() -> TissueHead:
    return TissueHead.load()


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
    spec = list_encoders()[0]
    assert head.card["encoder"]["key"] == spec.key
    assert head.card["encoder"]["weights_digest"] == spec.weights_sha256
    assert head.card["encoder"]["preprocessing_digest"] == spec.preprocessing_digest
    assert "Research use only" in head.card["notice"]
    assert head.card["weights_sha256"] == head.weights_digest


def test_the_model_card_says_what_the_json_says(head: TissueHead) -> None:
    text = FOLDER.joinpath("tissue_head.md").read_text(encoding="utf-8")
    assert head.card["citation"] in text
    assert all(caveat in text for caveat in head.card["caveats"])
    for part in head.card["figures"].values():
        assert f"{part['single_patch_balanced_accuracy']:.3f}" in text


@pytest.mark.parametrize("change", ["weights", "digest", "names", "key", "json"])
def test_files_that_do_not_belong_together_are_refused(change: str) -> None:
    weights, text = FOLDER.joinpath(WEIGHTS).read_bytes(), FOLDER.joinpath(CARD).read_text(encoding="utf-8")
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


def test_mosaics_state_their_shares() -> None:
    flat = tuple(np.full((2, CELL, CELL, 3), 20 * k, np.uint8) for k in range(len(TISSUES)))
    maps = (np.random.default_rng(0).integers(-1, 12, (40, 40)).astype(np.int16),)
    for kind in KINDS:
        for mpp in (0.5, 1.0):
            rng = np.random.default_rng(1)
            for _ in range(10):
                tile, shares = draw(Bank(flat, maps), kind, mpp, rng)
                assert tile.shape == augment(tile, rng).shape == (PX, PX, 3)
                assert shares.sum() == pytest.approx(1)
                if mpp == 0.5:  # no pixel was resampled, so every one names its class
                    tissue = tile[..., 0] <= 220  # glass is brighter
                    seen = np.bincount(tile[..., 0][tissue] // 20, minlength=12) / tissue.sum()
                    assert np.abs(seen - shares).max() < 1e-6


def test_the_figure_for_single_patches_holds(head: TissueHead, data_dir: Path) -> None:
    bank, encoder = load_bank(data_dir, "test"), load_encoder("builtin")
    recall = []
    for label, patches in enumerate(bank.patches):
        tiles = np.stack([mirrored(patch, PX, 30) for patch in patches[:16]])
        found = head.shares(encoder.encode(tiles).astype(np.float16)).argmax(axis=1)
        recall.append(float((found == label).mean()))
    stated = head.card["figures"]["0.5"]["single_patch_balanced_accuracy"]
    assert abs(np.mean(recall) - stated) < 0.1  # 16 patches a class of the whole test split
