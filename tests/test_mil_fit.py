"""Fitting finds a planted signal, does not invent one, is deterministic, and refuses what cannot be learnt from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mil import Bag, BagError, EmptyBagError, FitSpec, LabelError, fit, predict, roc_auc
from mil.train import split

QUICK = FitSpec(epochs=15, min_epochs=5, patience=5, lr=3e-3, settings=(("hidden", 16), ("attention", 8)))
MEAN = replace(QUICK, settings=(("hidden", 16),))


def make_bags(count: int, seed: int, *, signal: float = 2.5, width: int = 20) -> list[Bag]:
    """Bags of noise of 5 to 40 tiles; in each other one a quarter of the tiles is moved by `signal` in two features."""
    rng = np.random.default_rng(seed)
    bags = []
    for i in range(count):
        features = rng.normal(3, 2, (int(rng.integers(5, 41)), width)).astype(np.float32)
        features[: len(features) // 4 + 1, :2] += signal * (i % 2) * 2
        coords = np.arange(2 * len(features), dtype=np.int64).reshape(-1, 2)
        bags.append(Bag(f"bag-{i}", features, coords, float(i % 2), mpp=(1.0,), encoder="toy@0"))
    return bags


def held_out(name: str, train: list[Bag], test: list[Bag], spec: FitSpec) -> float:
    fitted = fit(name, train, spec)
    return roc_auc([bag.label or 0.0 for bag in test], [predict(fitted, bag).logit for bag in test])


@pytest.mark.parametrize(("name", "spec"), [("abmil", QUICK), ("mean", MEAN)])
def test_a_planted_signal_is_found_and_a_null_is_not(name: str, spec: FitSpec) -> None:
    found = held_out(name, make_bags(80, 1), make_bags(100, 2), spec)
    null = held_out(name, make_bags(80, 1, signal=0), make_bags(100, 2, signal=0), spec)
    assert found > 0.95
    assert 0.3 < null < 0.7  # four standard errors of an AUROC of 50 against 50 bags at chance


def test_contributions_point_at_the_planted_tiles() -> None:
    fitted = fit("abmil", make_bags(80, 1), QUICK)
    areas = []
    for bag in make_bags(40, 5)[1::2]:
        planted = np.arange(len(bag)) < len(bag) // 4 + 1
        areas.append(roc_auc(planted, np.asarray(predict(fitted, bag).contributions)))
    assert np.mean(areas) > 0.9


def test_the_same_seed_gives_the_same_bits_and_another_does_not() -> None:
    bags, test = make_bags(24, 1), make_bags(1, 9)[0]
    torch.manual_seed(123)
    first = fit("abmil", bags, QUICK)
    torch.manual_seed(456)
    again = fit("abmil", bags, QUICK)
    other = fit("abmil", bags, replace(QUICK, seed=1))
    assert first.digest == again.digest != other.digest
    assert predict(first, test).logit == predict(again, test).logit


def test_fitting_leaves_the_generator_of_others_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    fit("mean", make_bags(12, 1), replace(MEAN, epochs=1))
    assert torch.equal(torch.rand(1), expected)


def test_the_kept_weights_are_those_of_the_best_validation_loss() -> None:
    bags, held = make_bags(24, 1), make_bags(20, 2)
    short = fit("mean", bags, replace(MEAN, epochs=30, patience=30), held)
    until = fit("mean", bags, replace(MEAN, epochs=int(short.metrics["epoch"]), patience=30), held)
    assert short.digest == until.digest
    assert short.metrics["validation_loss"] == until.metrics["validation_loss"]


def test_features_of_any_scale_are_learnt_from() -> None:
    def scaled(bags: list[Bag]) -> list[Bag]:
        factor = np.geomspace(1e-4, 1e4, 20).astype(np.float32)
        return [
            replace(bag, features=np.concatenate([bag.features * factor, bag.features[:, :1] * 0 + 5], axis=1))
            for bag in bags
        ]

    assert held_out("abmil", scaled(make_bags(80, 1)), scaled(make_bags(60, 2)), QUICK) > 0.9


def test_class_weights_undo_imbalance() -> None:
    bags = make_bags(80, 1, signal=0)
    rare = [bag for i, bag in enumerate(bags) if i % 2 == 0 or i % 10 == 1]
    brisk = replace(MEAN, lr=1e-2, epochs=30, patience=30)
    plain = fit("mean", rare, replace(brisk, class_weights=False))
    weighted = fit("mean", rare, brisk)
    test = make_bags(40, 3, signal=0)
    assert np.mean([predict(plain, bag).probability for bag in test]) < 0.3
    assert np.mean([predict(weighted, bag).probability for bag in test]) == pytest.approx(0.5, abs=0.12)


def test_a_prediction_adds_up() -> None:
    fitted = fit("abmil", make_bags(16, 1), replace(QUICK, epochs=3))
    bag = make_bags(1, 7)[0]
    prediction = predict(fitted, bag)
    assert prediction.contributions is not None
    assert prediction.attention is not None
    assert prediction.contributions.shape == prediction.attention.shape == (len(bag),)
    assert prediction.contributions.sum() + float(fitted.head.bias[0]) == pytest.approx(prediction.logit, abs=1e-5)
    assert prediction.probability == pytest.approx(1 / (1 + np.exp(-prediction.logit)))


def test_a_bag_that_cannot_be_written_to_is_scored_and_left_alone() -> None:
    fitted = fit("mean", make_bags(12, 1), replace(MEAN, epochs=1))
    bag = make_bags(1, 7)[0]
    before, expected = bag.features.copy(), predict(fitted, bag)
    assert np.array_equal(bag.features, before)
    bag.features.setflags(write=False)
    assert predict(fitted, bag).logit == expected.logit


def test_patients_are_never_split() -> None:
    bags = [replace(bag, patient=f"p{i // 4}") for i, bag in enumerate(make_bags(40, 1))]
    bags = [replace(bag, label=float(i // 4 % 2)) for i, bag in enumerate(bags)]
    train, held = split(bags, FitSpec())
    assert not {bag.patient for bag in train} & {bag.patient for bag in held}
    assert {bag.label for bag in held} == {0.0, 1.0}
    assert len(train) + len(held) == 40


@pytest.mark.parametrize(("label", "words"), [(1.0, "one class"), (None, "bag 0 is None"), (2.0, "must be 0 or 1")])
def test_labels_that_cannot_be_learnt_from_are_refused(label: float | None, words: str) -> None:
    with pytest.raises(LabelError, match=words):
        fit("mean", [replace(bag, label=label) for bag in make_bags(8, 1)], MEAN)


def test_one_patient_of_a_class_cannot_be_split() -> None:
    bags = [replace(bag, patient="only" if bag.label else f"p{i}") for i, bag in enumerate(make_bags(10, 1))]
    with pytest.raises(LabelError, match="two patients"):
        fit("mean", bags, MEAN)


@pytest.mark.parametrize("change", [{"encoder": "other@1"}, {"mpp": (0.5,)}])
def test_bags_of_another_make_are_refused(change: dict[str, object]) -> None:
    bags = make_bags(12, 1)
    odd = replace(bags[3], **change)  # type: ignore[arg-type]
    with pytest.raises(BagError, match="Bag 3"):
        fit("mean", [*bags[:3], odd, *bags[4:]], MEAN)
    with pytest.raises(BagError, match="another encoder"):
        predict(fit("mean", bags, replace(MEAN, epochs=1)), odd)
    with pytest.raises(BagError, match="no bag"):
        fit("mean", [], MEAN)


def test_bags_that_are_no_bags_are_refused() -> None:
    coords = np.zeros((3, 2), np.int64)
    with pytest.raises(EmptyBagError):
        Bag("a", np.zeros((0, 4), np.float32), coords[:0])
    with pytest.raises(BagError, match="features"):
        Bag("a", np.zeros((2, 4), np.float32), coords)
    with pytest.raises(BagError, match=r"1 of 3 tiles .* tile 2"):
        Bag("a", np.array([[1], [2], [np.nan]], np.float32), coords)


def test_musk1_is_learnt(data_dir: Path) -> None:
    """Dietterich et al. 1997; one split in two halves, so a smoke test and not the published protocol."""
    with np.load(data_dir / "classic_mil" / "musk1.npz") as file:
        parts = np.split(file["features"], file["offsets"][1:-1])
        labels = file["label"]
    bags = [Bag(f"{i}", part, np.zeros((len(part), 2), np.int64), float(labels[i])) for i, part in enumerate(parts)]
    order = np.random.default_rng(0).permutation(len(bags))
    train, test = ([bags[i] for i in rows] for rows in np.array_split(order, 2))
    assert held_out("abmil", train, test, replace(QUICK, epochs=40, settings=())) > 0.75
