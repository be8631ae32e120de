"""The loop that trains every head: what each step sees, how weights move, and the same bits twice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mil import Bag, LabelError, build_head
from mil.errors import ExperimentError
from mil.tasks.binary import Binary
from mil.tasks.cox import Cox
from mil.tasks.task import Task
from mil.training.coteaching import CoteachingSpec
from mil.training.drawing import Batch, Cases
from mil.training.ema import Ema
from mil.training.goal import RISK_SET, Goal
from mil.training.loop import Loop
from mil.training.memory import cohort_of
from mil.training.objective import ObjectiveSpec, build_objective
from mil.training.pooled import pool_cohort, standardise
from mil.training.regions import Marks
from mil.training.sampling import Sampler
from mil.training.schedule import step_size
from mil.training.scoring import logits_in_batches
from mil.training.spec import TrainSpec

BRIEF = TrainSpec(epochs=3, min_epochs=1, batch=16, steps=1, tiles=12)


def cases(count: int, seed: int, least: int = 3, most: int = 30) -> Cases:
    """Noise, moved by the label in one feature."""
    rng = np.random.default_rng(seed)
    bags = []
    for i in range(count):
        features = rng.normal(4, 3, (int(rng.integers(least, most)), 6)).astype(np.float32)
        features[:, 0] += 3 * (i % 2)
        bags.append(Bag(f"{i}", features, np.zeros((len(features), 2), np.int64)))
    return Cases(cohort_of(bags), np.array([[i % 2] for i in range(count)], np.float32))


def loop_of(spec: TrainSpec = BRIEF, seed: int = 0) -> Loop:
    train, held = cases(24, 1), cases(12, 2)
    torch.manual_seed(seed)
    head = build_head("abmil", 6, settings={"hidden": 8})
    standardise(head, pool_cohort(train.cohort))
    objective = build_objective(Binary(), ObjectiveSpec(), train.targets)
    return Loop(head, train, held, Goal(Binary(), objective, spec, seed))


@given(st.lists(st.integers(1, 400), min_size=1, max_size=40), st.integers(1, 9), st.floats(0.1, 1), st.integers(0, 9))
@settings(max_examples=25)
def test_an_epoch_shows_every_case_alike_and_a_share_of_its_tiles(
    sizes: list[int], batch: int, keep: float, seed: int
) -> None:
    spec = TrainSpec(batch=batch, keep=keep, tiles=100, steps=3)
    sampler = Sampler(np.array(sizes, np.int64), spec, np.random.default_rng(seed))
    epoch = list(sampler.epoch())
    shown = np.bincount(np.concatenate([rows for rows, _ in epoch]), minlength=len(sizes))
    assert set(shown.tolist()) == {sampler.passes}
    assert len(epoch) == sampler.steps >= 3
    assert (sampler.passes - 1) * sampler.once < 3
    for rows, counts in epoch:
        for row, count in zip(rows.tolist(), counts.tolist(), strict=True):
            assert min(100, max(1, round(keep * sizes[row]))) <= count <= min(100, sizes[row])
            tiles = sampler.tiles(row, count)
            if tiles is None:
                assert count == sizes[row]
            else:
                assert len(set(tiles.tolist())) == count
                assert (np.diff(tiles) > 0).all()
                assert 0 <= tiles.min() <= tiles.max() < sizes[row]


def test_cases_of_one_batch_are_of_about_one_size() -> None:
    sizes = np.random.default_rng(0).lognormal(3.3, 0.9, 1000).astype(np.int64) + 1
    sampler = Sampler(sizes, TrainSpec(batch=16, tiles=10_000), np.random.default_rng(1))
    padded = sum(len(rows) * counts.max() for rows, counts in sampler.epoch())
    drawn = sum(counts.sum() for _, counts in sampler.epoch())
    assert padded < 1.6 * drawn  # in random order it is 3.7


def test_cases_are_drawn_as_often_as_asked_for() -> None:
    draw = np.array([0.5, 0.5, 0.0, 0.0])
    sampler = Sampler(np.full(4, 5), TrainSpec(), np.random.default_rng(0), draw)
    seen = np.concatenate([rows for _ in range(50) for rows, _ in sampler.epoch()])
    assert set(seen.tolist()) == {0, 1}
    assert 0.3 < (seen == 0).mean() < 0.7


def test_steps_grow_then_fall_to_nothing() -> None:
    spec = TrainSpec(lr=2.0, warm_up=0.1)
    steps = [step_size(spec, step, 200) for step in range(200)]
    assert np.argmax(steps) == 20
    assert steps[20] == 2.0
    assert (np.diff(steps[:21]) > 0).all()
    assert (np.diff(steps[20:]) < 0).all()
    assert steps[-1] < 0.001
    assert step_size(replace(spec, schedule="constant"), 150, 200) == 2.0


def test_the_average_forgets_at_the_rate_asked_for() -> None:
    head = build_head("mean", 3)
    ema = Ema(head, 0.75)
    expected = {name: value.clone() for name, value in head.named_parameters()}
    for step in range(1, 40):
        with torch.no_grad():
            for value in head.parameters():
                value.add_(1.0)
        ema.step()
        decay = min(0.75, step / (step + 9))
        expected = {name: decay * expected[name] + (1 - decay) * value for name, value in head.named_parameters()}
    for name, value in ema.average.named_parameters():
        torch.testing.assert_close(value, expected[name])


@given(st.integers(0, 99))
@settings(max_examples=10)
def test_the_standardiser_counts_each_case_alike(seed: int) -> None:
    cohort = cases(5, seed).cohort
    parts = [cohort.features(i).astype(np.float64) for i in range(5)]
    mean = np.mean([part.mean(axis=0) for part in parts], axis=0)
    scale = np.sqrt(np.mean([((part - mean) ** 2).mean(axis=0) for part in parts], axis=0))
    head = build_head("mean", 6)
    standardise(head, pool_cohort(cohort))
    np.testing.assert_allclose(head.mean.numpy(), mean, rtol=1e-5)
    np.testing.assert_allclose(head.scale.numpy(), scale, rtol=1e-5)


def test_scoring_in_batches_is_scoring_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mil.training.scoring.TILES", 120)
    cohort, head = cases(9, 3, 1, 70).cohort, build_head("abmil", 6).eval()
    alone = [
        head(torch.from_numpy(cohort.features(i))[None], torch.ones(1, int(n), dtype=torch.bool)).logits[0]
        for i, n in enumerate(cohort.sizes())
    ]
    torch.testing.assert_close(logits_in_batches(head, cohort), torch.stack(alone))


def test_the_same_seed_gives_the_same_bits() -> None:
    runs = []
    for seed in (0, 0, 1):
        loop = loop_of(seed=seed)
        runs.append((loop.run().history, [value.clone() for value in loop.student.head.state_dict().values()]))
    assert runs[0][0] == runs[1][0] != runs[2][0]
    assert all(torch.equal(a, b) for a, b in zip(runs[0][1], runs[1][1], strict=True))


def test_the_kept_weights_are_the_average_of_the_best_epoch() -> None:
    loop = loop_of(replace(BRIEF, epochs=6))
    trained = loop.run()
    best = min(trained.history, key=lambda entry: entry["validation_loss"])
    assert trained.metrics == best
    loop.student.average.average.load_state_dict(loop.student.head.state_dict())
    assert loop.judge() == pytest.approx(best["validation_loss"], abs=1e-6)


def test_without_validation_the_last_epoch_is_kept() -> None:
    loop = loop_of(replace(BRIEF, ema=0.0, patience=1, lr=10.0))  # a step at which the loss does not fall
    loop.held = Cases(loop.held.cohort.subset([]), loop.held.targets[:0])
    trained = loop.run(lambda *_: pytest.fail("there is nothing to tell"))
    assert trained.metrics == trained.history[-1]
    assert [epoch["epoch"] for epoch in trained.history] == [1, 2, 3]
    assert all(
        torch.equal(a, b)
        for a, b in zip(loop.student.head.parameters(), loop.student.average.average.parameters(), strict=True)
    )


def test_whoever_is_told_of_an_epoch_may_end_the_fit() -> None:
    told: list[tuple[int, float]] = []

    def stop(epoch: int, loss: float) -> None:
        told.append((epoch, loss))
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop_of().run(stop)
    assert [epoch for epoch, _ in told] == [1, 2]


def test_noise_moves_features_by_its_share_of_their_deviation() -> None:
    rows, counts = np.arange(24), np.full(24, 3)
    plain = loop_of(replace(BRIEF, noise=0.0)).drawer.batch(rows, counts)
    loop = loop_of(replace(BRIEF, noise=0.5))
    noisy = loop.drawer.batch(rows, counts)
    moved = ((noisy.features - plain.features) / loop.student.head.scale)[plain.mask]
    assert moved.std() == pytest.approx(0.5, rel=0.1)
    assert abs(float(moved.mean())) < 0.1


def test_long_gradients_are_cut() -> None:
    loop = loop_of(replace(BRIEF, clip=1e-6))
    loop.step(np.arange(8), np.full(8, 3))
    norms = [value.grad.norm() for value in loop.student.head.parameters() if value.grad is not None]
    assert float(torch.stack(norms).norm()) <= 1.001e-6


def test_unknown_cases_teach_nothing_and_do_not_water_the_loss_down() -> None:
    loop = loop_of()
    logits, truth = torch.tensor([[2.0], [-1.0]]), torch.tensor([[1.0], [torch.nan]])
    assert float(loop.student.bag_loss(truth, logits)) == pytest.approx(float(np.log1p(np.exp(-2.0))))


def test_cox_regression_gets_batches_that_hold_risk_sets() -> None:
    def batch(task: Task, size: int) -> int:
        objective = build_objective(task, ObjectiveSpec(), np.ones((4, task.width), np.float32))
        return Goal(task, objective, TrainSpec(batch=size)).enough.batch

    assert batch(Cox(), 4) == RISK_SET
    assert batch(Cox(), 200) == 200
    assert batch(Binary(), 4) == 4


def test_a_loss_that_is_no_number_is_refused() -> None:
    with pytest.raises(LabelError, match="epoch 1 is not a number"):
        loop_of(replace(BRIEF, lr=1e30, clip=0.0)).run()


@pytest.mark.parametrize("change", [{"epochs": 0}, {"keep": 1.5}, {"lr": -1.0}, {"ema": 1.0}, {"validation": 1.0}])
def test_a_way_to_train_that_makes_no_sense_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(ExperimentError, match=next(iter(change))):
        TrainSpec(**change)  # type: ignore[arg-type]


def test_co_teaching_leaves_wrong_labels_out() -> None:
    rng = np.random.default_rng(0)
    train, held = cases(120, 1, 15, 30), cases(40, 2)
    wrong = rng.random(120) < 0.25
    noisy = replace(train, targets=np.where(wrong[:, None], 1 - train.targets, train.targets))
    spec = TrainSpec(epochs=25, min_epochs=25, batch=24, steps=1, lr=3e-2, ema=0.0, noise=0.0)
    torch.manual_seed(0)
    heads = [build_head("mean", 6, settings={"hidden": 8}) for _ in range(2)]
    for head in heads:
        standardise(head, pool_cohort(train.cohort))
    objective = build_objective(Binary(), ObjectiveSpec(), noisy.targets)
    loop = Loop(heads[0], noisy, held, Goal(Binary(), objective, spec, 0, CoteachingSpec(0.25, 3)), heads[1])
    learnt: list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]] = []
    first = loop.student.learn

    def watch(batch: Batch, lr: float) -> float:
        learnt.append(batch.features[batch.mask].numpy())
        return first(batch, lr)

    loop.student.learn = watch  # type: ignore[method-assign]
    loop.run()
    shown = {row.tobytes() for part in learnt[-loop.drawer.sampler.steps :] for row in part}
    seen = np.array([any(tile.tobytes() in shown for tile in train.cohort.features(row)) for row in range(120)])
    assert seen[wrong].mean() < 0.4
    assert seen[~wrong].mean() > 0.8


def test_annotated_tiles_are_drawn_and_learnt() -> None:
    train, held = cases(24, 1, 8, 12), cases(12, 2)
    marks = tuple(Marks(np.array([0, 1]), np.ones((2, 1), np.float32)) if row == 3 else None for row in range(24))
    torch.manual_seed(0)
    head = build_head("abmil", 6, settings={"hidden": 8})
    objective = build_objective(Binary(), ObjectiveSpec(), train.targets)
    loop = Loop(head, replace(train, marks=marks), held, Goal(Binary(), objective, BRIEF))
    batch = loop.drawer.batch(np.array([2, 3]), np.array([6, 8]))
    assert batch.tiles is not None
    assert batch.tiles.shape == (*batch.mask.shape, 1)
    assert batch.tiles[0].isnan().all()
    assert (batch.tiles[1] == 1).sum() == 2
    head.eval()
    alone, together = loop.student.loss(replace(batch, tiles=None)), loop.student.loss(batch)
    assert float(together.detach()) > float(alone.detach())
