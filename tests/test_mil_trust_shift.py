"""Other shares, other tiles, other slides: what may be corrected is measured first; nothing is corrected unasked."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import chi2
from torch import nn

from mil.batch import collate
from mil.errors import CalibrationError, EmptyBagError
from mil.head import build_head
from mil.trust.entropy import Adapted, EntropySpec, adapt_by_entropy, entropy
from mil.trust.prior_shift import prior_shift
from mil.trust.subsets import score_subsets


def scored(count: int, share: float, seed: int = 0) -> NDArray[np.float64]:
    """Probabilities calibrated at equal shares, of cases of which `share` are positive."""
    rng = np.random.default_rng(seed)
    truth = rng.random(count) < share
    yes = 1 / (1 + np.exp(-2 * rng.normal(np.where(truth, 1.0, -1.0))))  # normal of distance 2: the logit is 2 x
    return np.column_stack([1 - yes, yes])


@pytest.mark.parametrize("share", [0.1, 0.8])
def test_shares_of_positives_are_found_without_labels(share: float) -> None:
    chances = scored(3000, share)
    found = prior_shift(chances, np.array([0.5, 0.5]))
    assert found.after[1] == pytest.approx(share, abs=0.03)
    assert found.converged
    assert found.p == pytest.approx(chi2.sf(found.statistic, 1))
    assert found.shifted
    adjusted = found.adjust(chances)
    assert adjusted.sum(axis=1) == pytest.approx(np.ones(3000))
    assert adjusted[:, 1].mean() == pytest.approx(share, abs=0.03)


def test_the_shares_of_training_need_not_be_equal() -> None:
    found = prior_shift(scored(3000, 0.3), np.array([0.5, 0.5]))
    here = found.adjust(scored(3000, 0.3))  # calibrated at .3, as if training had been so
    again = prior_shift(here, np.array(found.after))
    assert again.after == pytest.approx(found.after, abs=1e-3)
    assert not again.shifted


def test_a_shift_is_seldom_seen_where_there_is_none() -> None:
    found = [prior_shift(scored(200, 0.5, seed), np.array([0.5, 0.5])).shifted for seed in range(100)]
    assert np.mean(found) < 0.12


def test_shares_of_many_classes_and_of_scores_that_say_nothing() -> None:
    rng = np.random.default_rng(0)
    sure = np.eye(3)[rng.choice(3, 500, p=[0.6, 0.3, 0.1])]
    assert prior_shift(sure, np.full(3, 1 / 3)).after == pytest.approx(tuple(sure.mean(axis=0)))
    flat = prior_shift(np.full((50, 2), 0.5), np.array([0.5, 0.5]))
    assert (flat.after, flat.statistic, flat.shifted) == ((0.5, 0.5), 0.0, False)


@pytest.mark.parametrize(
    ("chances", "before"),
    [
        (np.zeros((0, 2)), np.array([0.5, 0.5])),
        (np.full((3, 2), 0.5), np.array([0.0, 1.0])),
        (np.full((3, 2), 0.5), np.array([0.2, 0.3, 0.5])),
        (np.full((3, 2), 0.4), np.array([0.5, 0.5])),
        (np.array([[1.5, -0.5]]), np.array([0.5, 0.5])),
    ],
)
def test_what_is_no_probability_has_no_shift(chances: NDArray[np.float64], before: NDArray[np.float64]) -> None:
    with pytest.raises(CalibrationError):
        prior_shift(chances, before)


def mean_score(tiles: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(tiles.mean(axis=0), np.float32)


@settings(max_examples=20)
@given(st.integers(2, 40), st.integers(0, 100))
def test_the_same_bag_gets_the_same_subsets_and_halves_scatter_as_they_should(count: int, seed: int) -> None:
    bag = np.random.default_rng(seed).normal(size=(count, 3)).astype(np.float32)
    found = score_subsets(bag, mean_score)
    again = score_subsets(bag.copy(), mean_score)
    assert (found.mean.tolist(), found.spread.tolist()) == (again.mean.tolist(), again.spread.tolist())
    whole = score_subsets(bag, mean_score, share=1.0)
    assert whole.mean == pytest.approx(bag.mean(axis=0), abs=1e-5)
    assert whole.spread == pytest.approx(np.zeros(3), abs=1e-6)


def test_the_spread_of_halves_is_that_of_sampling_without_replacement() -> None:
    bag = np.random.default_rng(0).normal(size=(60, 1)).astype(np.float32)
    found = score_subsets(bag, mean_score, times=2000)
    assert found.spread[0] == pytest.approx(bag.std(ddof=1) * np.sqrt(1 / 30 - 1 / 60), rel=0.05)
    assert found.mean[0] == pytest.approx(bag.mean(), abs=0.01)


def test_a_bag_of_one_tile_has_no_spread_and_an_empty_one_no_score() -> None:
    alone = score_subsets(np.ones((1, 2), np.float32), mean_score)
    assert (alone.mean.tolist(), alone.times) == ([1.0, 1.0], 1)
    assert np.isnan(alone.spread).all()
    with pytest.raises(EmptyBagError):
        score_subsets(np.ones((0, 2), np.float32), mean_score)


def bags(count: int = 20) -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    return [rng.normal(row % 2, 1, (5, 4)).astype(np.float32) for row in range(count)]


def adapted(classes: int, **changes: float) -> tuple[nn.Module, Adapted]:
    torch.manual_seed(0)
    head = build_head("abmil", 4, classes).eval()
    return head, adapt_by_entropy(head, bags(), EntropySpec(enabled=True, rate=0.05, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("classes", [1, 3])
def test_a_head_is_made_surer_on_a_copy_and_only_where_it_may_be_moved(classes: int) -> None:
    head, found = adapted(classes)
    assert found.after < found.before
    before, after = head.state_dict(), found.head.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == set(found.parameters)
    assert len(moved) == 1
    assert all(parameter.requires_grad for parameter in head.parameters())
    assert not any(parameter.requires_grad for parameter in found.head.parameters())


def test_normalisation_layers_are_moved_where_there_are_some() -> None:
    torch.manual_seed(0)
    head = build_head("abmil", 4)
    head.add_module("normal", nn.LayerNorm(4))
    head.register_forward_pre_hook(lambda own, given: (own.get_submodule("normal")(given[0]), given[1]))
    found = adapt_by_entropy(head, bags(), EntropySpec(enabled=True))
    assert found.parameters == ("normal.weight", "normal.bias")


def test_it_is_said_when_all_get_one_answer() -> None:
    torch.manual_seed(0)
    head = build_head("abmil", 4).eval()
    with torch.no_grad():
        head.get_parameter("read.bias").sub_(head(*collate(bags())).logits.quantile(0.3))  # 30 % are negative
    found = adapt_by_entropy(head, bags(), EntropySpec(enabled=True, steps=300, rate=0.05))
    assert found.one_answer
    assert found.changed == pytest.approx(0.3)


def test_entropy_is_that_of_its_definition() -> None:
    logits = torch.tensor([[0.0, 0.0], [30.0, -30.0]])
    assert entropy(logits, exclusive=True).tolist() == pytest.approx([np.log(2), 0.0], abs=1e-6)
    assert entropy(logits, exclusive=False).tolist() == pytest.approx([np.log(2), 0.0], abs=1e-6)


def test_adapting_is_refused_unless_enabled_and_with_bags_enough_and_something_to_move() -> None:
    head = build_head("abmil", 4)
    with pytest.raises(CalibrationError, match="must be enabled"):
        adapt_by_entropy(head, bags(), EntropySpec())
    with pytest.raises(CalibrationError, match="16 bags at least; there are 3"):
        adapt_by_entropy(head, bags(3), EntropySpec(enabled=True))
    for module in head.modules():
        if isinstance(module, nn.Linear):
            module.bias = None  # type: ignore[assignment]
    with pytest.raises(CalibrationError, match="no bias"):
        adapt_by_entropy(head, bags(), EntropySpec(enabled=True))
