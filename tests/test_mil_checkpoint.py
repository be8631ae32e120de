"""A saved head comes back bit for bit, and nothing but a head of ours comes back."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from mil import Bag, BagError, CheckpointError, EmptyBagError, Fit, FitSpec, build_head, load_fit, predict, save_fit
from mil.checkpoint import RECORD, WEIGHTS
from mil.infer import predict_cohort
from mil.tasks.hazard import Hazard
from mil.training.memory import cohort_of
from mil.training.spec import TrainSpec

SPEC = FitSpec(seed=4, settings=(("hidden", 8), ("attention", 4)))


@pytest.fixture
def fitted() -> Fit:
    torch.manual_seed(0)
    head = build_head("abmil", 6, settings=dict(SPEC.settings)).eval()
    head.mean.fill_(0.5)
    return Fit("abmil", head, SPEC, "toy@0", (0.5, 1.0), {"validation_auroc": 0.75})


@pytest.fixture
def saved(fitted: Fit, tmp_path: Path) -> Path:
    save_fit(fitted, tmp_path / "head")
    return tmp_path / "head"


def test_a_saved_head_comes_back_bit_for_bit(fitted: Fit, saved: Path) -> None:
    again = load_fit(saved)
    assert again.digest == fitted.digest
    assert (again.spec, again.encoder, again.mpp, again.metrics) == (SPEC, "toy@0", (0.5, 1.0), fitted.metrics)
    features = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    bag = Bag("a", features, np.zeros((5, 2), np.int64), mpp=(0.5, 1.0), encoder="toy@0")
    first, second = predict(fitted, bag), predict(again, bag)
    assert first.logit == second.logit
    assert first.contributions is not None
    assert np.array_equal(first.contributions, np.asarray(second.contributions))
    assert not again.head.training


def test_saving_twice_gives_the_same_bytes_and_leaves_no_draft(fitted: Fit, saved: Path) -> None:
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    save_fit(fitted, saved)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
    assert set(before) == {RECORD, WEIGHTS}


def test_the_digest_is_of_everything_that_decides_a_score(fitted: Fit) -> None:
    moved = build_head("abmil", 6, settings=dict(SPEC.settings))
    moved.load_state_dict(fitted.head.state_dict())
    moved.mean[0] += 1e-6
    variants = [replace(fitted, mpp=(1.0,)), replace(fitted, encoder="toy@1"), replace(fitted, head=moved)]
    assert len({fitted.digest, *(variant.digest for variant in variants)}) == 4
    assert replace(fitted, metrics={}).digest == fitted.digest


def flip(content: bytes) -> bytes:
    return content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {"cut": lambda b: b[:-2], "emptied": lambda _: b"", "flipped": flip}


@pytest.mark.parametrize("name", [WEIGHTS, RECORD])
@pytest.mark.parametrize("damage", sorted(DAMAGE))
def test_a_damaged_file_is_refused(saved: Path, name: str, damage: str) -> None:
    (saved / name).write_bytes(DAMAGE[damage]((saved / name).read_bytes()))
    with pytest.raises(CheckpointError):
        load_fit(saved)


def test_a_missing_file_is_refused(saved: Path) -> None:
    (saved / WEIGHTS).unlink()
    with pytest.raises(CheckpointError, match="missing"):
        load_fit(saved)


@pytest.mark.parametrize(
    "change",
    [
        {"code": "os.system"},
        {"format": "oncoscope-head-0"},
        {"head": "mean"},
        {"head": "os:system"},
        {"settings": {"hidden": 9, "attention": 4, "dropout": 0.25}},
        {"settings": {"hidden": 8, "attention": 4, "dropout": 0.25, "more": 1}},
        {"settings": None},
        {"in_dim": 7},
        {"in_dim": "6"},
        {"mpp": [2.0]},
        {"mpp": None},
        {"encoder": "other@0"},
        {"spec": {}},
        {"spec": None},
    ],
)
def test_a_changed_record_is_refused(saved: Path, change: dict[str, object]) -> None:
    record = json.loads((saved / RECORD).read_text())
    (saved / RECORD).write_text(json.dumps(record | change))
    with pytest.raises(CheckpointError):
        load_fit(saved)


def test_a_record_that_is_no_object_is_refused(saved: Path) -> None:
    (saved / RECORD).write_text("[]")
    with pytest.raises(CheckpointError, match="an object"):
        load_fit(saved)


def replace_weights(saved: Path, weights: bytes) -> None:
    record = json.loads((saved / RECORD).read_text())
    record["weights_sha256"] = hashlib.sha256(weights).hexdigest()
    (saved / WEIGHTS).write_bytes(weights)
    (saved / RECORD).write_text(json.dumps(record))


def test_weights_that_are_code_are_refused_even_with_the_right_checksum(saved: Path) -> None:
    replace_weights(saved, pickle.dumps({"read.weight": 1}))
    with pytest.raises(CheckpointError):
        load_fit(saved)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 0.25])
def test_weights_that_were_not_saved_are_refused_even_with_the_right_checksum(saved: Path, value: float) -> None:
    tensors = load((saved / WEIGHTS).read_bytes())
    tensors["read.bias"] = torch.full_like(tensors["read.bias"], value)
    replace_weights(saved, save(tensors))
    with pytest.raises(CheckpointError):
        load_fit(saved)


@pytest.mark.parametrize("shape", [(3,), (1, 1)])
def test_tensors_of_another_shape_are_refused(saved: Path, shape: tuple[int, ...]) -> None:
    tensors = load((saved / WEIGHTS).read_bytes()) | {"read.bias": torch.zeros(shape)}
    replace_weights(saved, save(tensors))
    with pytest.raises(CheckpointError, match="shapes"):
        load_fit(saved)


@pytest.fixture
def tasked() -> Fit:
    torch.manual_seed(0)
    task = Hazard(bins=3, edges=(10.0, 20.0, 40.0))
    head = build_head("abmil", 6, 3, dict(SPEC.settings)).eval()
    return Fit("abmil", head, TrainSpec(epochs=7), "toy@0", (0.5,), {"validation_loss": 0.5}, task)


def test_a_task_is_saved_with_its_head(tasked: Fit, tmp_path: Path) -> None:
    save_fit(tasked, tmp_path)
    again = load_fit(tmp_path)
    assert (again.task, again.spec, again.digest) == (tasked.task, tasked.spec, tasked.digest)
    bag = Bag("a", np.ones((5, 6), np.float32), np.zeros((5, 2), np.int64), mpp=(0.5,), encoder="toy@0")
    np.testing.assert_array_equal(predict_cohort(again, cohort_of([bag])), predict_cohort(tasked, cohort_of([bag])))
    with pytest.raises(BagError, match="several logits"):
        predict(again, bag)


def test_what_the_logits_mean_is_part_of_the_digest(tasked: Fit) -> None:
    other = replace(tasked, task=Hazard(bins=3, edges=(10.0, 20.0, 50.0)))
    assert len({tasked.digest, other.digest, replace(tasked, task=None).digest}) == 3


def test_a_task_of_other_logits_than_the_head_has_is_refused(tasked: Fit, tmp_path: Path) -> None:
    save_fit(replace(tasked, task=Hazard(bins=2, edges=(10.0, 20.0))), tmp_path)
    with pytest.raises(CheckpointError, match="as many logits"):
        load_fit(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"format": "oncoscope-head-1"},
        {"task": {"kind": "hazard", "bins": 3, "edges": [10.0, 20.0, 41.0]}},
        {"task": {"kind": "hazard", "bins": 2}},
        {"task": {"kind": "os:system"}},
        {"task": {"kind": "hazard", "more": 1}},
        {"task": None},
        {"spec": {"epochs": 7}},
    ],
)
def test_a_changed_task_is_refused(tasked: Fit, tmp_path: Path, change: dict[str, object]) -> None:
    save_fit(tasked, tmp_path)
    record = json.loads((tmp_path / RECORD).read_text())
    (tmp_path / RECORD).write_text(json.dumps(record | change))
    with pytest.raises(CheckpointError):
        load_fit(tmp_path)


def test_cases_of_another_make_or_without_tiles_are_refused(tasked: Fit) -> None:
    bag = Bag("a", np.ones((5, 6), np.float32), np.zeros((5, 2), np.int64), mpp=(0.5,), encoder="toy@0")
    with pytest.raises(BagError, match="another encoder"):
        predict_cohort(tasked, cohort_of([replace(bag, encoder="other@0")]))
    other = replace(bag, features=np.ones((5, 6), np.float32))
    empty = cohort_of([bag, other])
    other.features.resize((0, 6), refcheck=False)
    with pytest.raises(EmptyBagError, match="row 1"):
        predict_cohort(tasked, empty)
