"""Tuning finds better settings on training cases alone, gives up what lags behind, and goes on where it was killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mil import Bag
from mil.cohort.write import write_bags
from mil.errors import ExperimentError
from mil.experiment.read import read_experiment
from mil.tuning.cases import ALL, development, inside, outer_folds, read_source
from mil.tuning.journal import JOURNAL
from mil.tuning.plan import read_plan, with_trials
from mil.tuning.tune import tune

TOML = """
[experiment]
name = "small"
purpose = "a test"
[data]
bags = "bags.npz"
labels = "labels.csv"
[task]
kind = "binary"
[head]
name = "mean"
[training]
epochs = 2
min_epochs = 1
batch = 8
[folds]
count = 3
[test]
centres = ["c3"]
[tune]
trials = 5
inner = 2
startup = 2
%s
[tune.space]
"training.lr" = {low = 1e-9, high = 0.1, log = true}
"head.name" = {choices = ["mean", "abmil"]}
"head.hidden" = {low = 4, high = 8, heads = ["abmil"]}
"""
Make = Callable[..., Path]


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Cases of two classes that differ in one feature; a fourth of them are of the sealed centre c3."""
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("bags") / "bags.npz"
    made = []
    for i in range(64):
        features = rng.normal(size=(5, 4)).astype(np.float32)
        features[:, 0] += i // 4 % 2
        made.append(Bag(f"s{i}", features, np.zeros((5, 2), np.int64)))
    write_bags(path, made)
    return path.read_bytes()


@pytest.fixture
def make(tmp_path: Path, bags: bytes) -> Make:
    """Write an experiment and its data."""

    def write(extra: str = "", sealed: str = "{label}", toml: str = TOML) -> Path:
        rows = [
            f"s{i},p{i},c{i % 4}," + (sealed if i % 4 == 3 else "{label}").format(label=i // 4 % 2) for i in range(64)
        ]
        (tmp_path / "bags.npz").write_bytes(bags)
        (tmp_path / "labels.csv").write_text("\n".join(["slide_id,patient,centre,label", *rows]) + "\n")
        (tmp_path / "small.toml").write_text(toml % extra)
        return tmp_path / "small.toml"

    return write


def run(path: Path, out: str = "out", trials: int | None = None) -> dict[str, Any]:
    return tune(with_trials(read_plan(path, path.parent), trials), path.parent / out)


def judged(out: Path) -> Counter[tuple[int, int]]:
    """How often each fold of each trial was noted in the journal."""
    lines = [json.loads(line) for line in (out / JOURNAL).read_text().splitlines()]
    noted = [
        (line["trial_id"], len(line["user_attr"]["folds"])) for line in lines if "folds" in line.get("user_attr", {})
    ]
    return Counter(noted)


def test_the_same_tuning_twice_finds_the_same(make: Make) -> None:
    path = make()
    first, second = run(path, "a"), run(path, "b")
    assert first["trials"] == second["trials"]
    assert len(first["trials"]) == 5
    assert json.loads((path.parent / "a" / "tune.json").read_text()) == first
    assert "research use only" in first["notice"].lower()


def test_a_step_too_small_to_learn_loses(make: Make) -> None:
    found = run(make(), trials=8)
    assert found["winner"]["values"]["training.lr"] > 1e-5
    assert found["winner"]["mean"] > 0.7
    assert {trial["state"] for trial in found["trials"]} == {"complete", "pruned"}
    pruned = [trial for trial in found["trials"] if trial["state"] == "pruned"]
    assert all(len(trial["folds"]) < 2 for trial in pruned)  # its second fold was never trained
    assert all(("head.hidden" in t["values"]) == (t["values"]["head.name"] == "abmil") for t in found["trials"])
    assert set(found["importance"]) >= {"training.lr"}


def test_the_best_experiment_is_one_that_train_takes(make: Make) -> None:
    path = make()
    found = run(path, trials=3)
    best = path.parent / "out" / "best.toml"
    assert "tune" not in tomllib.loads(best.read_text())
    experiment = read_experiment(best, path.parent)
    assert experiment.training.lr == found["winner"]["values"]["training.lr"]
    assert experiment.head == found["winner"]["values"]["head.name"]
    assert len(experiment.cohort()) == 64  # it finds the data from where it lies
    assert experiment.test is not None


def test_outer_folds_judge_the_tuning_itself(make: Make) -> None:
    found = run(make("nested = true"), trials=2)
    nested = found["nested"]
    assert [fold["fold"] for fold in nested["folds"]] == [0, 1, 2]
    assert nested["tuned"] == pytest.approx(np.mean([fold["tuned"] for fold in nested["folds"]]))
    assert nested["gain"] == pytest.approx(nested["tuned"] - nested["untuned"])
    assert nested["tuned"] != nested["promised"]
    assert any(fold["tuned"] != fold["untuned"] for fold in nested["folds"])


def test_labels_of_sealed_cases_change_nothing(make: Make) -> None:
    clean = run(make(), "clean", trials=2)
    assert run(make(sealed="no such label"), "poisoned", trials=2) == clean


def test_more_trials_go_on_where_the_others_ended(make: Make) -> None:
    path = make()
    first = run(path, trials=2)
    more = run(path, trials=4)
    assert more["trials"][:2] == first["trials"]
    assert len(more["trials"]) == 4
    assert set(judged(path.parent / "out").values()) == {1}


def test_a_killed_tuning_goes_on_and_judges_nothing_twice(make: Make) -> None:
    path = make()
    out = path.parent / "out"
    call = [sys.executable, "-m", "api.cli", "tune", str(path), "--out", str(out), "--trials", "4000"]
    with subprocess.Popen(call, stdout=subprocess.DEVNULL) as process:
        while not (out / JOURNAL).is_file() or len(judged(out)) < 6:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    before = judged(out)
    with (out / JOURNAL).open("ab") as file:
        file.write(b'{"op_code":8,"wor')  # as a process that is killed while it writes leaves it
    trials = len(before) + 3
    found = run(path, trials=trials)
    after = judged(out)
    assert set(after.values()) == {1}
    assert before.items() <= after.items()
    assert len(found["trials"]) == trials
    assert all(trial["state"] in {"complete", "pruned"} for trial in found["trials"])


def test_a_folder_of_another_tuning_is_left_alone(make: Make) -> None:
    run(make(), trials=1)
    with pytest.raises(ExperimentError, match="another tuning"):
        run(make("seed = 3"), trials=1)


def test_a_worker_that_lives_on_reads_labels_that_have_changed(make: Make) -> None:
    plan = read_plan(make(), Path())
    before = read_source(plan.base)
    assert development(before) is development(before)
    labels = plan.base.place / "labels.csv"
    labels.write_text(labels.read_text().replace("s0,p0,c0,0", "s0,p0,c0,1"))
    after = read_source(plan.base)
    assert development(before).targets[0] == development(after).targets[0] == 1
    assert before.digest != after.digest


def test_two_processes_do_not_tune_into_one_folder(make: Make) -> None:
    from tiling.lock import locked

    path = make()
    (path.parent / "out").mkdir()
    with locked(path.parent / "out" / ".lock"), pytest.raises(ExperimentError, match="Another process"):
        run(path, trials=1)


def test_settings_that_cannot_be_learnt_with_end_their_trial_alone(make: Make) -> None:
    toml = TOML.replace("low = 1e-9, high = 0.1, log = true", "choices = [1e-3, 1e30]")
    found = run(make(toml=toml), trials=6)
    assert {"complete", "fail"} <= {trial["state"] for trial in found["trials"]}
    assert all("not a number" in trial["fault"] for trial in found["trials"] if trial["state"] == "fail")
    with pytest.raises(ExperimentError, match=r"No setting could be judged\. The loss"):
        run(make(toml=toml.replace("1e-3, 1e30", "1e29, 1e30")), "other", trials=2)


def test_a_search_never_sees_the_outer_fold_that_judges_it(make: Make) -> None:
    source = read_source(read_plan(make(), Path()).base)
    whole, folds = development(source), outer_folds(source)
    for fold in range(3):
        seen = {case.id for case in inside(source, fold).cohort.cases}
        judging = {case.id for case, own in zip(whole.cohort.cases, folds, strict=True) if own == fold}
        assert judging
        assert seen.isdisjoint(judging)
        assert len(seen | judging) == len(whole.cohort)
    assert inside(source, ALL) is whole


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"training.lr" = {', '"training.rate" = {', "rate"),
        ('"training.lr" = {', '"data.bags" = {', "may be tuned"),
        ("low = 1e-9, high", "low = 0.2, high", "rise"),
        ("low = 1e-9, high", "low = 0.0, high", "above 0"),
        ("low = 1e-9, high", "low = true, high", "numbers"),
        ("log = true", "log = true, step = 2", "step"),
        ("low = 1e-9, high = 0.1", "low = 1e-9", "low"),
        ('["mean", "abmil"]', '["mean", "no"]', "no"),
        ('["mean", "abmil"]', "[[1]]", "choices"),
        ('"head.hidden" = {low = 4', '"head.hiding" = {low = 4', "hiding"),
        ("trials = 5", "trials = 0", "trials"),
        ("trials = 5", "tries = 5", "tries"),
        ("[tune.space]", "[tune.room]", "room"),
    ],
)
def test_plans_that_make_no_sense_are_refused_before_anything_is_trained(
    make: Make, old: str, new: str, message: str
) -> None:
    from mil.errors import MilError

    with pytest.raises(MilError, match=message):
        read_plan(make(toml=TOML.replace(old, new)), Path())


def test_settings_of_a_head_that_is_replaced_go_with_it(make: Make) -> None:
    toml = TOML.replace('name = "mean"\n[training]', 'name = "abmil"\nhidden = 6\n[training]')
    plan = read_plan(make(toml=toml), Path())
    assert plan.changed({"training.lr": 0.1}).settings == (("hidden", 6),)
    assert plan.changed({"head.name": "abmil", "head.hidden": 7}).settings == (("hidden", 7),)
    assert plan.changed({"head.name": "mean"}).settings == ()


def test_nothing_is_left_beside_what_a_tuning_is_for(make: Make) -> None:
    path = make()
    run(path, trials=1)
    assert sorted(file.name for file in (path.parent / "out").iterdir()) == ["best.toml", "journal.jsonl", "tune.json"]
