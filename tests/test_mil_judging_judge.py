"""The judge dispatches by kind, draws patients, chooses no threshold on what it judges, and writes strict JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mil.errors import MetricError
from mil.judging.cases import Asked, Cases
from mil.judging.compare import across_folds, by_fold, compare
from mil.judging.judge import judge, scores_of
from mil.judging.subgroups import quarters
from mil.judging.threshold import cross_fitted
from mil.judging.validation import corrected_t
from mil.metrics import roc_auc
from mil.tasks.binary import Binary
from mil.tasks.cox import Cox
from mil.tasks.hazard import Hazard
from mil.tasks.multiclass import Multiclass
from mil.tasks.multilabel import Multilabel
from mil.tasks.multitask import Member, Multitask
from mil.tasks.ordinal import Ordinal
from mil.tasks.regression import Regression
from mil.tasks.task import Task

N = 60
QUICK = Asked(count=60)
RNG = np.random.default_rng(7)
PATIENTS = tuple(f"p{i // 2:02}" for i in range(N))
FOLDS = np.arange(N) // 2 % 3
TRUTH = (np.arange(N) // 2 % 2).astype(np.float32)[:, None]
FINITE = {"allow_nan": False}


def logits(task: Task, seed: int = 0) -> NDArray[np.float32]:
    signal = np.outer(TRUTH[:, 0], np.linspace(1, 2, task.outputs))
    return (signal + np.random.default_rng(seed).normal(size=(N, task.outputs))).astype(np.float32)


def judged(task: Task, targets: NDArray[np.float32], **more: Any) -> dict[str, Any]:  # noqa: ANN401 - as judge takes them
    found = logits(task)
    document = judge(
        task, targets, task.probabilities(found), scores_of(task, found), PATIENTS, **{"asked": QUICK, **more}
    )
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    return document


def cases(seed: int = 0, *, folds: bool = False) -> Cases:
    task = Binary()
    found = logits(task, seed)
    return Cases(
        TRUTH.astype(float), task.probabilities(found), task.score(found), PATIENTS, folds=FOLDS if folds else None
    )


def test_a_binary_task_has_all_its_figures() -> None:
    found = judged(Binary(), TRUTH, folds=FOLDS)
    assert found["figures"]["auroc"]["value"] == pytest.approx(roc_auc(TRUTH[:, 0], logits(Binary())[:, 0]))
    low, high = found["figures"]["auroc"]["interval"]
    assert low < found["figures"]["auroc"]["value"] < high
    assert (found["n"], found["patients"], found["positives"], found["prevalence"]) == (N, N // 2, 30, 0.5)
    assert found["delong"]["interval"]
    assert 0 < found["permutation_p"] < 0.05
    assert found["calibration"]["slope"]["value"] > 0
    assert len(found["benefit"]["at"]) == 99
    youden = found["decisions"]["youden"]
    assert youden["chosen_on"] == "the other folds"
    assert len(youden["cuts"]) == 3
    assert sum(youden["counts"].values()) == N
    assert youden["wilson"] is None
    assert youden["predictive_values"] is None


def test_without_other_cases_no_threshold_is_chosen() -> None:
    rule = judged(Binary(), TRUTH)["decisions"]["youden"]
    assert rule["figures"] is None
    assert rule["reason"] == "there are no other cases to choose a threshold on"


def test_the_threshold_of_an_external_cohort_is_that_of_training() -> None:
    task, other = Binary(), replace(cases(5), patients=tuple(f"train{i}" for i in range(N)))
    found = judged(task, TRUTH, asked=replace(QUICK, reference=other, prevalence=0.1))
    rule = found["decisions"]["sensitivity_90"]
    said = logits(task)[:, 0] >= rule["cuts"][0]
    assert rule["chosen_on"] == "out-of-fold cases of training"
    assert rule["counts"]["tp"] == int((said & (TRUTH[:, 0] == 1)).sum())
    assert (other.scores >= rule["cuts"][0])[TRUTH[:, 0] == 1].mean() >= 0.9
    sensitivity, specificity = (rule["figures"][name]["value"] for name in ("sensitivity", "specificity"))
    bayes = 0.1 * sensitivity / (0.1 * sensitivity + 0.9 * (1 - specificity))
    assert rule["predictive_values"]["ppv"]["value"] == pytest.approx(bayes)
    with pytest.raises(MetricError, match="Row 1: the threshold was chosen on this patient"):
        judged(task, TRUTH, asked=replace(QUICK, reference=cases(5)))


def test_one_class_alone_gives_null_with_a_reason() -> None:
    found = judged(Binary(), np.ones((N, 1), np.float32), folds=FOLDS)
    assert found["figures"]["auroc"] == {"value": None, "interval": None, "reason": "not defined for these cases"}
    assert found["delong"]["reason"] == "all cases are of one class"
    assert found["curves"] is None
    with pytest.raises(MetricError, match="No case has a known label"):
        judged(Binary(), np.full((N, 1), np.nan, np.float32))


def test_unknown_labels_are_counted_and_not_judged() -> None:
    targets = TRUTH.copy()
    targets[:6] = np.nan
    found = judged(Binary(), targets)
    assert (found["n"], found["unknown"]) == (N - 6, 6)


def test_groups_are_judged_and_small_ones_named() -> None:
    centre = ["A" if i < 24 else "B" if i < 56 else "" for i in range(N)]
    found = judged(Binary(), TRUTH, folds=FOLDS, groups={"centre": centre})["subgroups"]["centre"]
    by_name = {group["group"]: group for group in found["groups"]}
    own = logits(Binary())[:24, 0]
    assert by_name["A"]["figures"]["auroc"]["value"] == pytest.approx(roc_auc(TRUTH[:24, 0], own))
    assert by_name["not stated"]["reason"] == "fewer than 5 patients of a class"
    assert found["too_small"] == ["not stated"]
    areas = {name: by_name[name]["figures"]["auroc"]["value"] for name in "AB"}
    assert found["worst"]["group"] == min(areas, key=lambda name: areas[name])
    assert found["gap"] == pytest.approx(abs(areas["A"] - areas["B"]))
    assert by_name["A"]["p_holm"] == pytest.approx(min(1, 2 * by_name["A"]["p"]), abs=0.05)
    sensitivity = found["equal_opportunity"]["sensitivity"]
    said, _ = cross_fitted("youden", cases().targets[:, 0], cases().scores, PATIENTS, FOLDS)
    assert sensitivity["A"] == pytest.approx(said[:24][TRUTH[:24, 0] == 1].mean())
    assert found["equal_opportunity"]["gap"] == pytest.approx(abs(sensitivity["A"] - sensitivity["B"]))


def test_a_score_that_only_knows_the_group_is_unmasked() -> None:
    group = np.arange(N) % 2
    truth = ((np.arange(N) // 2 % 10 < 8) == (group == 1)).astype(np.float32)[:, None]
    score = group + 1e-3 * RNG.normal(size=N)
    patients = [f"{i:02}" for i in range(N)]
    one = judge(
        Binary(), truth, score[:, None] / 2, score, patients, groups={"c": [str(g) for g in group]}, asked=QUICK
    )
    assert one["figures"]["auroc"]["value"] > 0.75
    assert one["subgroups"]["c"]["within"]["value"] < 0.65


def test_many_numbers_are_cut_into_quarters() -> None:
    names = quarters([str(age) for age in range(40, 80)] + [""])
    assert sorted(set(names)) == ["40 to 49.75", "49.75 to 59.5", "59.5 to 69.25", "69.25 to 79", "not stated"]
    assert [names.count(name) for name in sorted(set(names))] == [10, 10, 10, 10, 1]
    assert quarters(["1", "2", "x"]) == ["1", "2", "x"]


def test_classes_grades_values_and_survival_are_judged_by_their_own_figures() -> None:
    three = (np.arange(N) // 2 % 3).astype(np.float32)[:, None]
    classes = judged(Multiclass(column="c", labels=(("a",), ("b",), ("c",))), three, groups={"s": ["x"] * N})
    assert classes["primary"] == "macro_auroc"
    assert {"accuracy", "balanced_accuracy", "auroc: b"} <= set(classes["figures"])
    assert np.sum(classes["table"]) == N
    assert classes["subgroups"]["s"]["worst"]["group"] == "x"
    grades = judged(Ordinal(), three)
    assert grades["primary"] == "quadratic_kappa"
    assert grades["confusions"][0]["truth"] in {"1", "2", "3"}
    values = judged(Regression(quantiles=True), TRUTH + logits(Regression()) * np.float32(0.1))
    assert {"r2", "spearman", "interval_coverage"} <= set(values["figures"])
    times = np.concatenate([RNG.integers(1, 50, (N, 1)), TRUTH], axis=1).astype(np.float32)
    risk = judged(Cox(), times)
    assert risk["figures"]["harrell_c"]["value"] == pytest.approx(risk["survival"]["harrell_c"]["value"])
    assert judged(Hazard().fit_to(times), times)["survival"]["brier"]["integrated"]["value"] is not None


def test_labels_and_tasks_are_judged_one_by_one() -> None:
    targets = np.concatenate([TRUTH, 1 - TRUTH, np.full((N, 1), np.nan)], axis=1).astype(np.float32)
    labels = Multilabel(labels=("a", "b", "c"))
    found = judged(labels, targets, folds=FOLDS)["parts"]
    assert list(found) == ["a", "b", "c"]
    said = labels.probabilities(logits(labels))
    assert found["b"]["figures"]["auroc"]["value"] == pytest.approx(roc_auc(targets[:, 1], said[:, 1]))
    assert found["c"]["reason"] == "No case has a known label, so nothing can be judged."
    several = Multitask(members=(Member("stage", Ordinal()), Member("msi", Binary()), Member("age", Regression())))
    wide = np.concatenate([TRUTH, TRUTH, 1 - TRUTH], axis=1)
    parts = judged(several, wide)["parts"]
    assert [parts[name]["kind"] for name in ("stage", "msi", "age")] == ["ordinal", "binary", "regression"]
    assert parts["msi"]["figures"]["auroc"]["value"] == pytest.approx(
        roc_auc(TRUTH[:, 0], several.scores(logits(several))[:, 1])
    )


def test_what_is_not_of_the_same_cases_is_refused() -> None:
    with pytest.raises(MetricError, match="same cases"):
        Cases(TRUTH.astype(float), TRUTH.astype(float), TRUTH[:5, 0].astype(float), PATIENTS)
    bad = np.where(np.arange(N) == 3, np.nan, 0.0)
    with pytest.raises(MetricError, match="Row 4: "):
        Cases(TRUTH.astype(float), TRUTH.astype(float), bad, PATIENTS)


def test_a_model_differs_from_itself_by_nothing_and_from_a_worse_one_by_something() -> None:
    good, noise = cases(), replace(cases(), scores=np.random.default_rng(3).normal(size=N))
    same = compare(Binary(), good, good, QUICK)[""]
    assert same["differences"]["auroc"]["value"] == 0
    assert same["delong"]["p"] == 1
    found = compare(Binary(), good, noise, QUICK)[""]
    gap = roc_auc(TRUTH[:, 0], good.scores) - roc_auc(TRUTH[:, 0], noise.scores)
    assert found["differences"]["auroc"]["value"] == pytest.approx(gap)
    assert found["p"] == found["delong"]["p"] < 0.05
    with pytest.raises(MetricError, match="same cases"):
        compare(Binary(), good, replace(good, patients=PATIENTS[::-1]), QUICK)


def test_comparisons_of_several_labels_are_corrected_for_their_number() -> None:
    task = Multilabel(labels=("a", "b"))
    targets = np.concatenate([TRUTH, TRUTH], axis=1).astype(float)
    one, other = (
        Cases(targets, task.probabilities(logits(task, seed)), scores_of(task, logits(task, seed)), PATIENTS)
        for seed in (0, 1)
    )
    found = compare(task, one, other, QUICK)
    raw = sorted(part["p"] for part in found.values())
    assert min(part["p_holm"] for part in found.values()) == pytest.approx(min(1, 2 * raw[0]))


def test_folds_are_judged_one_by_one() -> None:
    own = cases()
    each = by_fold(Binary(), own, FOLDS)
    assert each[1] == pytest.approx(roc_auc(TRUTH[FOLDS == 1, 0], own.scores[FOLDS == 1]))
    found = across_folds(each, each - 0.1, 3)
    assert found["difference"]["value"] == pytest.approx(0.1)
    assert found["head"]["interval"] == pytest.approx(list(corrected_t(each, 1 / 2)[1:3]))
