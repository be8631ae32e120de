"""Explanations are what they say: sums, differences and integrals of the head's own scores."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

import mil.head
from mil import Bag, BagError, Explanation, Fit, FitSpec, Head, HeadError, HeadOutput, explain_tiles
from mil.batch import collate
from mil.errors import ExperimentError
from mil.head import HeadSettings, build_head
from mil.why.asked import Asked
from mil.why.averaging import Averaging, scorer_of
from mil.why.methods import LABELS, METHODS


class QuadraticHead(Head):
    """Square of the mean hidden unit: a head that is no sum over tiles, weighs none, and whose gradient bends."""

    additive = False

    def __init__(self, in_dim: int, out_dim: int, settings: HeadSettings) -> None:
        super().__init__(in_dim, out_dim, settings)
        self.shape = nn.Linear(in_dim, out_dim)

    @property
    def bias(self) -> Tensor:
        return torch.full((self.out_dim,), 0.5)

    def pool(self, features: Tensor, mask: Tensor, *, explain: bool) -> HeadOutput:
        del explain
        weight = (mask / mask.sum(dim=1, keepdim=True))[..., None]
        return HeadOutput(0.5 + (weight * self.shape(features)).sum(dim=1) ** 2, None, None)


class TwoVoicesHead(Head):
    """Two attentions averaged: a sum over tiles, but not an average with one weight a tile."""

    def __init__(self, in_dim: int, out_dim: int, settings: HeadSettings) -> None:
        super().__init__(in_dim, out_dim, settings)
        self.weigh, self.read = nn.Linear(in_dim, 2), nn.Linear(in_dim, 2 * out_dim)

    @property
    def bias(self) -> Tensor:
        return torch.zeros(self.out_dim)

    def pool(self, features: Tensor, mask: Tensor, *, explain: bool) -> HeadOutput:
        del explain
        alpha = torch.softmax(self.weigh(features).masked_fill(~mask[..., None], -torch.inf), dim=1)
        parts = (alpha[..., None] * self.read(features).unflatten(-1, (2, self.out_dim))).mean(dim=2)
        return HeadOutput(parts.sum(dim=1), parts, alpha.mean(dim=2))


@pytest.fixture(autouse=True)
def odd_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, kind in (("quadratic", QuadraticHead), ("two-voices", TwoVoicesHead)):
        monkeypatch.setitem(mil.head.HEADS, name, f"{__name__}:{kind.__name__}")
    monkeypatch.setattr(mil.head, "_find", lambda name: KINDS.get(name) or FIND(name))


KINDS: dict[str, type[Head]] = {"quadratic": QuadraticHead, "two-voices": TwoVoicesHead}
FIND: Callable[[str], type[Head]] = mil.head._find


def fitted(name: str, seed: int = 0, outputs: int = 1) -> Fit:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = build_head(name, 6, outputs, {"hidden": 8})
        head.mean.copy_(torch.randn(6))
        head.scale.copy_(torch.rand(6) + 0.5)
    head.requires_grad_(requires_grad=False).eval()
    return Fit(name, head, FitSpec(), "toy@0", (1.0,))


def bag_of(tiles: int = 30, seed: int = 1) -> Bag:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(tiles, 6)).astype(np.float32)
    return Bag("a", features, rng.integers(0, 9000, (tiles, 2)), mpp=(1.0,), encoder="toy@0")


def score(fit: Fit, features: NDArray[np.float32], output: int = 0) -> float:
    with torch.no_grad():
        return float(
            fit.head(torch.from_numpy(features)[None], torch.ones(1, len(features), dtype=torch.bool)).logits[0, output]
        )


def test_every_method_has_a_label() -> None:
    assert set(METHODS) == set(LABELS)


@pytest.mark.parametrize("name", ["mean", "abmil", "two-voices"])
def test_contributions_sum_to_the_logit(name: str) -> None:
    fit, bag = fitted(name, outputs=2), bag_of()
    found = explain_tiles(fit, bag, "contribution", output=1)
    assert found.values.sum() + float(fit.head.bias[1]) == pytest.approx(score(fit, bag.features, 1), abs=1e-5)
    assert found.logit == pytest.approx(score(fit, bag.features, 1), abs=1e-6)
    assert found.gap == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("name", ["mean", "abmil", "two-voices", "quadratic"])
def test_leaving_a_tile_out_is_what_it_says(name: str) -> None:
    fit, bag = fitted(name), bag_of(12)
    found = explain_tiles(fit, bag, "leave-one-out")
    plain = [score(fit, bag.features) - score(fit, np.delete(bag.features, tile, 0)) for tile in range(12)]
    assert found.values == pytest.approx(np.array(plain), abs=1e-5)


@pytest.mark.parametrize("name", ["abmil", "quadratic"])
def test_a_single_tile_is_scored_as_a_slide_of_its_own(name: str) -> None:
    fit, bag = fitted(name), bag_of(7)
    plain = [score(fit, bag.features[[tile]]) for tile in range(7)]
    assert explain_tiles(fit, bag, "single-tile").values == pytest.approx(np.array(plain), abs=1e-5)


@pytest.mark.parametrize("name", ["mean", "abmil", "quadratic"])
def test_integrated_gradients_sum_to_the_difference_from_a_slide_of_mean_tiles(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mil.why.integrated_gradients.STEPS", 1)  # too few, so that steps must be added
    fit, bag = fitted(name), bag_of()
    found = explain_tiles(fit, bag, "integrated-gradients")
    start = score(fit, np.tile(fit.head.mean.numpy(), (30, 1)))
    assert found.gap is not None
    assert found.values.sum() == pytest.approx(score(fit, bag.features) - start, abs=found.gap + 1e-5)
    assert found.gap <= 0.01 * max(1, abs(found.logit - start))


def test_a_head_that_takes_long_is_integrated_in_the_first_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mil.why.integrated_gradients.STEPS", 1)
    exact = explain_tiles(fitted("abmil"), bag_of(), "integrated-gradients").gap
    monkeypatch.setattr("mil.why.integrated_gradients.is_cheap", lambda _: False)
    rough = explain_tiles(fitted("abmil"), bag_of(), "integrated-gradients").gap
    assert exact is not None
    assert rough is not None
    assert rough > 2 * exact


def test_integrated_gradients_of_a_square_are_known() -> None:
    """For f = (mean of w x)^2 from x = b, tile i gets w (x_i - b) / N times the integral of twice the mean."""
    fit, bag = fitted("quadratic"), bag_of(9)
    assert isinstance(fit.head, QuadraticHead)
    standard = (torch.from_numpy(bag.features) - fit.head.mean) / fit.head.scale
    weight, bias = fit.head.shape.weight[0], fit.head.shape.bias[0]
    moved = standard @ weight
    expected = moved / 9 * (moved.mean() + 2 * bias)
    assert explain_tiles(fit, bag, "integrated-gradients").values == pytest.approx(expected.numpy(), abs=1e-5)


def test_attention_is_the_heads_own() -> None:
    fit, bag = fitted("abmil"), bag_of()
    found = explain_tiles(fit, bag, "attention")
    assert found.values.sum() == pytest.approx(1, abs=1e-5)
    assert (found.values >= 0).all()
    assert found.gap is None


def test_the_short_cut_is_taken_only_where_it_is_exact() -> None:
    bag = bag_of(9)
    taken = {
        name: isinstance(scorer_of(Asked(fitted(name).head, bag.features)), Averaging)
        for name in (*KINDS, "mean", "abmil")
    }
    assert taken == {"quadratic": False, "two-voices": False, "mean": True, "abmil": True}


@settings(max_examples=15)
@given(st.integers(0, 999), st.integers(3, 40), st.sampled_from([1.0, 40.0]))
def test_the_short_cut_scores_any_part_as_the_head_does(seed: int, tiles: int, spread: float) -> None:
    """A spread of 40 lets one tile have all the attention, so that removing it leaves a part that had none."""
    bag = bag_of(tiles, seed)
    asked = Asked(fitted("abmil", seed).head, bag.features * np.float32(spread))
    quick = scorer_of(asked)
    rng = np.random.default_rng(seed)
    parts = [np.sort(rng.permutation(tiles)[: rng.integers(1, tiles + 1)]) for _ in range(5)]
    assert isinstance(quick, Averaging)
    np.testing.assert_allclose(quick.scores(parts), asked.scores(parts), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(quick.without_each(), asked.without_each(), rtol=1e-3, atol=1e-3)


def test_a_part_that_was_not_listened_to_is_scored_by_the_head() -> None:
    """One tile has all the attention; without it the others share what float32 cannot tell from nothing."""
    fit, bag = fitted("abmil"), bag_of(9)
    assert isinstance(fit.head.weigh, nn.Linear)
    fit.head.weigh.weight.mul_(40_000)
    quick = scorer_of(Asked(fit.head, bag.features))
    assert isinstance(quick, Averaging)
    most = int(quick.weights.argmax())
    rest = np.delete(np.arange(9), most)
    assert quick.weights[rest].sum() < 1e-6
    plain = score(fit, bag.features[rest])
    assert quick.without_each()[most] == pytest.approx(plain, abs=1e-5)
    assert quick.scores([rest])[0] == pytest.approx(plain, abs=1e-5)


def test_parts_are_scored_alike_in_batches_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(fitted("quadratic").head, bag_of(11).features)
    together = asked.without_each()
    shapes: list[tuple[int, int]] = []

    def watched(parts: Sequence[NDArray[np.float32]]) -> tuple[Tensor, Tensor]:
        features, mask = collate(parts)
        shapes.append((mask.shape[0], mask.shape[1]))
        return features, mask

    monkeypatch.setattr("mil.why.asked.collate", watched)
    monkeypatch.setattr("mil.why.asked.NUMBERS", 6 * 25)
    assert asked.without_each() == pytest.approx(together, abs=1e-6)
    assert shapes == [(2, 10)] * 5 + [(1, 10)]


@pytest.mark.parametrize("name", ["abmil", "quadratic"])
def test_one_tile_is_explained(name: str) -> None:
    fit, bag = fitted(name), bag_of(1)
    for method in set(METHODS) - ({"contribution", "attention"} if name == "quadratic" else set()):
        found = explain_tiles(fit, bag, method)
        assert np.isfinite(found.values).all()
        assert found.faithfulness.area == 0
    left = explain_tiles(fit, bag, "leave-one-out").values
    assert left == pytest.approx(np.array([score(fit, bag.features) - float(fit.head.bias[0])]), abs=1e-5)


def test_what_fits_a_head_is_chosen_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    bag = bag_of()
    assert explain_tiles(fitted("abmil"), bag).method == "contribution"
    assert explain_tiles(fitted("quadratic"), bag).method == "leave-one-out"
    monkeypatch.setattr("mil.why.averaging.MOST_PASSES", 29)
    assert explain_tiles(fitted("quadratic"), bag).method == "integrated-gradients"
    assert explain_tiles(fitted("quadratic"), bag).label == "integrated gradient of the tile, in logits"


def test_a_head_that_takes_long_is_compared_with_fewer_random_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    fit, bag, lots = fitted("quadratic"), bag_of(), explain_tiles(fitted("quadratic"), bag_of(), "single-tile")
    monkeypatch.setattr("mil.why.averaging.MOST_PASSES", 29)
    few = explain_tiles(fit, bag, "single-tile")
    assert few.faithfulness.area == lots.faithfulness.area
    assert few.faithfulness.random_sd != lots.faithfulness.random_sd


def test_several_heads_are_explained_by_mean_and_deviation() -> None:
    fits, bag = [fitted("abmil", seed) for seed in range(3)], bag_of()
    each = [explain_tiles(fit, bag, "contribution") for fit in fits]
    both = explain_tiles(fits, bag, "contribution")
    assert both.values == pytest.approx(np.mean([one.values for one in each], axis=0), abs=1e-6)
    assert both.sd == pytest.approx(np.std([one.values for one in each], axis=0), abs=1e-6)
    assert both.logit == pytest.approx(np.mean([one.logit for one in each]))
    assert both.faithfulness.most_first[0] == pytest.approx(both.logit, abs=1e-5)
    assert each[0].sd is None


def test_what_cannot_be_explained_is_said() -> None:
    bag = bag_of()
    with pytest.raises(HeadError, match="not a sum over tiles"):
        explain_tiles(fitted("quadratic"), bag, "contribution")
    with pytest.raises(HeadError, match="does not weigh tiles"):
        explain_tiles(fitted("quadratic"), bag, "attention")
    with pytest.raises(ExperimentError, match="no explanation by saliency; there are contribution, "):
        explain_tiles(fitted("mean"), bag, "saliency")
    with pytest.raises(ExperimentError, match="no head with an output 1"):
        explain_tiles(fitted("mean"), bag, output=1)
    with pytest.raises(ExperimentError, match="no head"):
        explain_tiles([], bag)
    with pytest.raises(BagError, match="another encoder"):
        explain_tiles(fitted("mean"), replace(bag, encoder="other@0"))


def test_the_most_telling_tiles_are_named_with_their_places() -> None:
    fit, bag = fitted("abmil"), bag_of()
    found = explain_tiles(fit, bag)
    order = np.argsort(found.values)
    assert [tile.tile for tile in found.bottom] == order[:5].tolist()
    assert [tile.tile for tile in found.top] == order[::-1][:5].tolist()
    assert [(tile.x, tile.y) for tile in found.top] == [tuple(place) for place in bag.coords[order[::-1][:5]].tolist()]
    assert found.top[0].value == found.values.max()
    document = json.loads(json.dumps(found.to_json()))
    assert document["notice"].startswith("Research use only")
    assert document["top"][0]["tile"] == order[-1]
    assert document["faithfulness"]["area"] == found.faithfulness.area
    assert isinstance(found, Explanation)
