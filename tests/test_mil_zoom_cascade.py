"""The cascade encodes what it chose and nothing else, and says what it skipped."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from foundation import ContractError, EncoderSpec, embed, list_encoders
from foundation.chosen import embed_chosen
from mil import Bag, BagError, Fit, FitSpec, build_head
from mil.errors import ExperimentError
from mil.zoom.cascade import CascadeResult, run_cascade
from mil.zoom.choice import CascadeSpec, choose
from mil.zoom.estimate import _missed
from mil.zoom.on_store import cascade_slide
from slides import Address
from slides.testing import write_slide
from tiling import TileSpec, TileStore, tile
from tiling.store import part_of

PER_TILE = 16


def fitted(width: int, mpp: float, encoder: str, seed: int = 0) -> Fit:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = build_head("abmil", width, 1, {"hidden": 8, "attention": 4})
    head.requires_grad_(requires_grad=False).eval()
    return Fit("abmil", head, FitSpec(), encoder, (mpp,))


@settings(max_examples=30)
@given(st.integers(0, 999), st.integers(1, 60), st.floats(0.01, 1), st.floats(0, 1))
def test_a_choice_is_all_tiles_once_the_best_first(seed: int, tiles: int, top: float, share: float) -> None:
    values = np.random.default_rng(seed).normal(size=tiles)
    choice = choose(values, CascadeSpec(top, share, seed))
    assert sorted([*choice.top, *choice.random, *choice.skipped]) == list(range(tiles))
    assert top * tiles - 1e-6 <= len(choice.top) < top * tiles + 1
    rest = tiles - len(choice.top)
    assert share * rest - 1e-6 <= len(choice.random) < share * rest + 1
    others = np.setdiff1d(np.arange(tiles), choice.top)
    assert values[choice.top].min() >= values[others].max(initial=-np.inf)


@pytest.mark.parametrize(("top", "share"), [(0.0, 0.1), (1.1, 0.1), (0.5, -0.1), (0.5, 1.1)])
def test_shares_that_are_none_are_refused(top: float, share: float) -> None:
    with pytest.raises(ExperimentError, match="share of a cascade"):
        CascadeSpec(top, share)


@dataclass
class Made:
    """A made slide: low tiles, each with sixteen fine ones; the fine features follow the low ones, with noise."""

    seed: int = 0
    low_tiles: int = 50
    asked: list[NDArray[np.int64]] = field(default_factory=list)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        low = rng.normal(size=(self.low_tiles, 5)).astype(np.float32)
        self.low = Bag("s", low, rng.integers(0, 9, (self.low_tiles, 2)), mpp=(2.0,), encoder="cheap@0")
        self.parent = np.repeat(np.arange(self.low_tiles), PER_TILE)
        fine = np.concatenate([low[self.parent], rng.normal(size=(len(self.parent), 2))], axis=1)
        self.fine = fine.astype(np.float32)
        self.fits = fitted(5, 2.0, "cheap@0", self.seed), fitted(7, 0.5, "dear@0", self.seed + 1)

    def encode(self, rows: NDArray[np.int64]) -> Bag:
        self.asked.append(rows)
        return Bag("s", self.fine[rows], np.stack([rows, rows], axis=1), mpp=(0.5,), encoder="dear@0")

    def run(self, top: float, share: float, seed: int = 0) -> CascadeResult:
        return run_cascade(CascadeSpec(top, share, seed), self.fits, self.low, self.parent, self.encode)

    def logit(self, rows: NDArray[np.int64]) -> float:
        with torch.no_grad():
            head = self.fits[1].head
            logits = head(torch.from_numpy(self.fine[rows])[None], torch.ones(1, len(rows), dtype=torch.bool)).logits
        return float(logits[0, 0])


def test_only_the_chosen_places_are_encoded_and_the_rest_is_said() -> None:
    made = Made()
    found = made.run(0.2, 0.1)
    (rows,) = made.asked
    np.testing.assert_array_equal(rows, found.encoded)
    assert len(rows) == (10 + 4) * PER_TILE
    assert set(made.parent[rows]) == {*found.choice.top, *found.choice.random}
    assert found.skipped_share == pytest.approx(36 / 50)
    document = json.loads(json.dumps(found.to_json()))
    assert document["low_tiles"] == {"top": 10, "random": 4, "skipped": 36}
    assert (document["encoded"], document["skipped"], document["fine_tiles"]) == (224, 576, 800)
    assert document["loss"] == pytest.approx(document["whole"] - document["logit"])
    assert document["notice"].startswith("Research use only")
    top = np.flatnonzero(np.isin(made.parent, found.choice.top))
    assert found.logit == pytest.approx(made.logit(top), abs=1e-5)


def test_a_cascade_that_skips_nothing_is_the_head() -> None:
    made = Made()
    for found in (made.run(1.0, 0.0), made.run(0.3, 1.0)):
        assert found.skipped_share == 0
        assert found.estimate.whole == pytest.approx(made.logit(np.arange(800)), abs=1e-5)
        assert (found.estimate.missed, found.estimate.missed_sd) == (0, 0)
    assert made.run(1.0, 0.0).estimate.loss == pytest.approx(0, abs=1e-6)


def test_without_chance_nothing_is_claimed_of_what_was_skipped() -> None:
    found = Made().run(0.2, 0.0)
    assert (found.estimate.whole, found.estimate.loss, found.estimate.missed) == (None, None, None)


def test_what_was_missed_is_estimated_without_bias() -> None:
    """Over many chances the mean is the truth, and the stated error is the error."""
    rng = np.random.default_rng(4)
    values, parent = rng.normal(size=50), np.repeat(np.arange(50), PER_TILE)
    high = rng.random(800) < 1 / (1 + np.exp(-values[parent]))
    truth, missed, stated = [], [], []
    for seed in range(600):
        choice = choose(values, CascadeSpec(0.2, 0.4, seed))
        chance = np.isin(parent, choice.random)
        count, deviation = _missed(high[chance], parent[chance], choice)
        truth.append(high[np.isin(parent, choice.skipped)].sum())
        missed.append(count)
        stated.append(deviation or 0)
    error = np.array(missed) - np.array(truth)
    assert abs(error.mean()) < 3 * error.std() / np.sqrt(600)
    assert np.sqrt(np.square(stated).mean()) == pytest.approx(error.std(), rel=0.1)


def test_the_whole_slide_is_estimated_better_than_by_the_top_alone() -> None:
    made = Made(seed=2)
    truth = made.logit(np.arange(800))
    found = [made.run(0.2, 0.3, seed) for seed in range(20)]
    whole = np.array([float(one.estimate.whole or 0) for one in found])
    assert np.abs(whole - truth).mean() < 0.5 * abs(found[0].logit - truth)


def test_each_random_tile_stands_for_those_it_represents() -> None:
    made = Made()
    found = made.run(0.2, 0.25)  # ten by score, ten by chance of the other forty
    assert found.choice.stands_for == 4
    top, chance = (np.flatnonzero(np.isin(made.parent, rows)) for rows in (found.choice.top, found.choice.random))
    assert found.estimate.whole == pytest.approx(made.logit(np.concatenate([top, np.repeat(chance, 4)])), abs=1e-5)


def test_tiles_that_nobody_looked_at_are_encoded() -> None:
    made = Made()
    made.parent = np.where(np.arange(800) < 3, -1, made.parent)
    assert set(range(3)) <= set(made.run(0.02, 0.0).encoded.tolist())


def test_one_random_tile_says_nothing_of_its_own_error() -> None:
    found = Made().run(0.2, 0.02)
    assert len(found.choice.random) == 1
    assert found.estimate.missed is not None
    assert found.estimate.missed_sd is None


def test_parts_that_do_not_fit_are_refused() -> None:
    made = Made()
    spec = CascadeSpec()
    for parent in (made.parent + 1, made.parent - 2, made.parent[:0]):
        with pytest.raises(BagError, match="not rows of the low zoom"):
            run_cascade(spec, made.fits, made.low, parent, made.encode)
    with pytest.raises(BagError, match="128 tiles were to be encoded, and 127 were"):
        run_cascade(spec, made.fits, made.low, made.parent, lambda rows: made.encode(rows[1:]))
    with pytest.raises(BagError, match="another encoder"):
        run_cascade(spec, made.fits[::-1], made.low, made.parent, made.encode)
    with pytest.raises(BagError, match="another encoder"):
        run_cascade(spec, made.fits, made.low, made.parent, lambda rows: replace(made.encode(rows), encoder="x@0"))
    (top,) = made.run(0.02, 0).choice.top
    with pytest.raises(BagError, match="No fine tile"):
        run_cascade(CascadeSpec(0.02, 0), made.fits, made.low, np.array([int(top == 0)]), made.encode)


# ---------------------------------------------------------------- on a slide

SPEC = replace(list_encoders()[0], key="colour", dim=6, px=64, mpp=(1.0, 2.0))


@dataclass(frozen=True)
class Counting:
    """A small real encoder, mean and spread of each colour, that remembers which tiles it saw."""

    spec: EncoderSpec = SPEC
    weights_digest: str = "0" * 64
    seen: set[bytes] = field(default_factory=set)

    @property
    def preprocessing_digest(self) -> str:
        return self.spec.preprocessing_digest

    def encode(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.seen.update(tile.tobytes() for tile in tiles)
        return np.concatenate([tiles.mean(axis=(1, 2)), tiles.std(axis=(1, 2))], axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Address:
    return Address.of(write_slide(tmp_path_factory.mktemp("slide") / "drawn.svs", size=(1200, 900), seed=3))


@pytest.fixture(scope="module", params=["no", "raw"])
def store(request: pytest.FixtureRequest, address: Address, tmp_path_factory: pytest.TempPathFactory) -> TileStore:
    specs = [TileSpec(1.0, px=64), TileSpec(2.0, px=64)]
    return tile(address, specs, tmp_path_factory.mktemp("tiles"), keep=request.param)


def test_chosen_tiles_have_the_features_that_all_have(store: TileStore, address: Address, tmp_path: Path) -> None:
    whole = embed(store, Counting(), tmp_path, address=address)
    for mpp in store.zooms:
        index = np.sort(np.random.default_rng(0).permutation(len(store.grid(mpp)))[:21])
        encoder = Counting()
        found = embed_chosen(store, encoder, mpp, index, address=address)
        np.testing.assert_array_equal(found, whole.features(mpp)[index])
        assert len(encoder.seen) <= len(index)


def test_a_part_of_a_grid_is_a_grid_of_these_tiles(store: TileStore) -> None:
    grid, index = store.grid(1.0), np.array([0, 5, 9])
    few = part_of(grid, index)
    np.testing.assert_array_equal(few.coords, grid.coords[index])
    np.testing.assert_array_equal(few.parent, grid.parent[index])
    assert len(few.tissue) == 3


def test_a_zoom_that_an_encoder_is_not_meant_for_is_refused(store: TileStore, address: Address) -> None:
    with pytest.raises(ContractError, match="meant for 2 um/px"):
        embed_chosen(store, Counting(replace(SPEC, mpp=(2.0,))), 1.0, np.arange(3), address=address)


def test_the_expensive_encoder_sees_the_top_share_only(store: TileStore, address: Address, tmp_path: Path) -> None:
    low, dear = embed(store, Counting(), tmp_path, zooms=[2.0], address=address), Counting()
    name = "colour@" + "0" * 64
    fits = fitted(6, 2.0, name), fitted(6, 1.0, name)
    found = cascade_slide(CascadeSpec(0.1, 0.0), fits, store, low, dear, address=address)
    tiles = store.grid(2.0)
    assert len(found.choice.top) == int(np.ceil(len(tiles) / 10))
    parent = store.grid(1.0).parent
    np.testing.assert_array_equal(found.encoded, np.flatnonzero(np.isin(parent, [*found.choice.top, -1])))
    assert 0 < len(dear.seen) <= len(found.encoded) < 0.3 * len(parent)
    np.testing.assert_array_equal(found.bag.coords, store.grid(1.0).coords[found.encoded])
    assert found.bag.id == store.info.pseudonym


def test_a_cascade_of_what_does_not_belong_together_is_refused(
    store: TileStore, address: Address, tmp_path: Path
) -> None:
    low = embed(store, Counting(), tmp_path, zooms=[2.0], address=address)
    name = "colour@" + "0" * 64
    fits = fitted(6, 2.0, name), fitted(6, 1.0, name)
    with pytest.raises(BagError, match="second of the finer"):
        cascade_slide(CascadeSpec(), fits[::-1], store, low, Counting(), address=address)
    low.tiles_fingerprint = "2" * 64
    with pytest.raises(BagError, match="not of these tiles"):
        cascade_slide(CascadeSpec(), fits, store, low, Counting(), address=address)
