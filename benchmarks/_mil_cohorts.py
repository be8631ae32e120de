"""MSI, treatment response and survival in TCGA, out of fold, with what explains them away beside them."""

from __future__ import annotations

import csv
from collections import defaultdict
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu

from benchmarks._mil_runs import Bench, areas, rounded, tcga
from mil.cohort.cohort import Cohort
from mil.experiment.folder import RunFolder
from mil.experiment.out_of_fold import OutOfFold
from mil.judging.harmonising import harmonised
from mil.judging.survival import judge_survival
from mil.judging.validation import holm
from mil.metrics import roc_auc
from mil.tasks.hazard import Hazard
from mil.trust.crosscheck import cross_coverage

MSI: Final = {"kind": "binary", "column": "msi", "positive": ["MSI-H"], "negative": ["MSI-L", "MSS"]}
RESPONSE: Final = {"kind": "binary", "column": "response", "positive": ["CR"], "negative": ["PR", "SD", "PD"]}
SURVIVAL: Final = {"kind": "hazard", "time": "os_days", "event": "os_event"}
COLORECTAL: Final = ["COAD", "READ"]
WEIGHTED: Final = {"imbalance": "weights"}
LEAST_PATIENTS, LEAST_EVENTS, LEAST_OF_A_CLASS = 80, 40, 8
MEASURED_ONCE: Final = {"msi": 0.77}
"""By logistic regression on mean and deviation, before this project."""


def labels(bench: Bench) -> list[dict[str, str]]:
    """Rows of the table of labels."""
    with (bench.data / "bags" / "tcga_labels.csv").open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def msi(bench: Bench) -> dict[str, Any]:
    """MSI-high in colorectal carcinoma, folds by patient and by centre."""
    found: dict[str, Any] = {by: _binary(_msi(bench, by)) for by in ("patient", "centre")}
    return found | {"measured_once_logistic": MEASURED_ONCE["msi"]}


def _msi(bench: Bench, by: str) -> RunFolder:
    return bench.run(f"msi-{by}", tcga(MSI, {"project": COLORECTAL}, by, bench, objective=WEIGHTED))


def _binary(run: RunFolder) -> dict[str, Any]:
    found = run.out_of_fold()
    truth = found.targets[:, 0]
    counts = {"cases": len(truth), "positive": int(truth.sum()), "winner": run.record["winner"]}
    return counts | areas(found)


def response(bench: Bench) -> dict[str, Any]:
    """Complete response inside each cancer, and over all of them with cancer type beside it."""
    runs = {cancer: _response(bench, [cancer]) for cancer in _cancers(bench)}
    found = {cancer: _binary(run) for cancer, run in runs.items()}
    for name, column in (("head", "logits"), ("logistic", "baseline_logits")):
        chance = [_p(run.out_of_fold(), column) for run in runs.values()]
        for own, raw, held in zip(found.values(), chance, holm(np.array(chance)), strict=True):
            own[name] |= {"p": _digits(raw), "p_holm": _digits(held)}
    below = {name: [c for c, own in found.items() if own[name]["p_holm"] < 0.05] for name in ("head", "logistic")}
    return {"cancers": found, "above_or_below_chance_by_holm": below, "all_cancers": _confounded(bench)}


def _response(bench: Bench, cancers: list[str]) -> RunFolder:
    name = "-".join(cancers) if len(cancers) < 4 else "all"
    return bench.run(f"response-{name}", tcga(RESPONSE, {"project": cancers}, "patient", bench, objective=WEIGHTED))


def _cancers(bench: Bench) -> list[str]:
    """Those with enough patients whose response is known, and enough of either answer."""
    people: dict[str, dict[str, bool]] = defaultdict(dict)
    for row in labels(bench):
        if row["response"]:
            people[row["project"]][row["patient"]] = row["response"] == "CR"
    return sorted(
        cancer
        for cancer, known in people.items()
        if len(known) >= LEAST_PATIENTS
        and min(sum(known.values()), len(known) - sum(known.values())) >= LEAST_OF_A_CLASS
    )


def _p(found: OutOfFold, column: str) -> float:
    """Of no difference in rank between the classes, two-sided."""
    truth, logits = found.targets[:, 0] == 1, getattr(found, column)[:, 0]
    return float(mannwhitneyu(logits[truth], logits[~truth]).pvalue)


def _digits(p: float) -> float:
    return float(f"{p:.2g}")


def _confounded(bench: Bench) -> dict[str, Any]:
    """All cancers together: the figure that looks good, cancer type alone, and what is left within one cancer."""
    run = _response(bench, sorted({row["project"] for row in labels(bench)}))
    found, cancer = run.out_of_fold(), {row["patient"]: row["project"] for row in labels(bench)}
    kind = np.array([cancer[patient] for patient in found.patients])
    truth = found.targets[:, 0] == 1
    rate = np.zeros(len(truth))
    for fold in range(int(found.folds.max()) + 1):
        rest, judged = found.folds[0] != fold, found.folds[0] == fold
        for one in set(kind[judged]):
            known = truth[rest & (kind == one)]
            rate[judged & (kind == one)] = (known.sum() + 1) / (len(known) + 2)
    return _binary(run) | {
        "cancer_type_alone": rounded(roc_auc(truth, rate)),
        "head_within_one_cancer": rounded(within(truth, found.logits[:, 0], kind)),
        "logistic_within_one_cancer": rounded(within(truth, found.baseline_logits[:, 0], kind)),
    }


def within(truth: NDArray[np.bool_], scores: NDArray[np.floating], kind: NDArray[np.str_]) -> float:
    """Chance that a positive outranks a negative of the same kind: AUROCs weighted by their pairs."""
    total = pairs = 0.0
    for one in np.unique(kind):
        own = truth[kind == one]
        count = float(own.sum() * (~own).sum())
        if count:
            total, pairs = total + count * roc_auc(own, scores[kind == one]), pairs + count
    return total / pairs


def survival(bench: Bench) -> dict[str, Any]:
    """Overall survival inside each cancer with enough events: Harrell's and Uno's C."""
    return {cancer: _survival(bench, cancer) for cancer in _deadly(bench)}


def _deadly(bench: Bench) -> list[str]:
    died: dict[str, set[str]] = defaultdict(set)
    for row in labels(bench):
        if row["os_event"] and float(row["os_event"]) == 1 and row["os_days"]:
            died[row["project"]].add(row["patient"])
    return sorted(cancer for cancer, known in died.items() if len(known) >= LEAST_EVENTS)


def _survival(bench: Bench, cancer: str) -> dict[str, Any]:
    one_seed = {"seeds": [0]}
    text = tcga(SURVIVAL, {"project": [cancer]}, "patient", bench, experiment=one_seed)
    run = bench.run(f"survival-{cancer}", text)
    found, verdict, task = run.out_of_fold(), run.record["verdict"], run.task
    if not isinstance(task, Hazard):
        raise TypeError
    times, events = found.targets[:, 0], found.targets[:, 1]
    judged = judge_survival(times, events, task.score(found.logits), draws=200, patients=found.patients)
    return {
        "cases": len(times),
        "events": int(events.sum()),
        "head": {"harrell": rounded(verdict["head"]), "interval": [rounded(e) for e in verdict["head_interval"]]},
        "linear": {
            "harrell": rounded(verdict["baseline"]),
            "interval": [rounded(e) for e in verdict["baseline_interval"]],
        },
        "head_uno": judged["uno_c"],
        "winner": run.record["winner"],
    }


def transfer(bench: Bench) -> dict[str, Any]:
    """Models of one cancer on another, as they are and with the others' centres made like the first's."""
    pairs = ((COLORECTAL, ["STAD"]), (["STAD"], COLORECTAL), (["LGG"], ["STAD"]))
    return {f"{'+'.join(home)} to {'+'.join(away)}": _transfer(bench, home, away) for home, away in pairs}


def _transfer(bench: Bench, home: list[str], away: list[str]) -> dict[str, Any]:
    ours, theirs = _response(bench, home), _response(bench, away)
    cohort = theirs.experiment.development(theirs.experiment.cohort())
    said = {name: _abroad(ours, seen) for name, seen in _seen(ours, cohort).items()}
    truth, there, here = theirs.out_of_fold().targets[:, 0], theirs.out_of_fold(), ours.out_of_fold()
    own = here.targets[:, 0]
    return {
        "at_home": {"head": _area(own, here.logits), "logistic": _area(own, here.baseline_logits)},
        **{name: {kind: _area(truth, logits) for kind, logits in both.items()} for name, both in said.items()},
        "trained_there": {"head": _area(truth, there.logits), "logistic": _area(truth, there.baseline_logits)},
    }


def _seen(ours: RunFolder, cohort: Cohort) -> dict[str, Cohort]:
    """The foreign cases as they are, and made like those of training without looking at their labels."""
    return {"abroad": cohort, "combat": harmonised(ours, cohort, "combat"), "coral": harmonised(ours, cohort, "coral")}


def _abroad(ours: RunFolder, cohort: Cohort) -> dict[str, NDArray[np.float32]]:
    return {
        "head": ours.predict_logits(cohort).mean(axis=0),
        "logistic": ours.predict_baseline(cohort).mean(axis=0),
    }


def _area(truth: NDArray[np.float32], logits: NDArray[np.float32]) -> float:
    return rounded(roc_auc(truth, logits[:, 0]))


def conformal(bench: Bench) -> dict[str, Any]:
    """Coverage of 90 % sets on patients that neither head nor sets saw: MSI, and response over all single cancers."""
    runs = {f"msi by {by}": [_msi(bench, by)] for by in ("patient", "centre")}
    runs["response"] = [_response(bench, [cancer]) for cancer in _cancers(bench)]
    return {name: _coverage(own) for name, own in runs.items()}


def _coverage(runs: list[RunFolder]) -> dict[str, Any]:
    """Over all cases of the runs together."""
    each = []
    for run in runs:
        found = run.out_of_fold()
        each += cross_coverage(run.task, found.logits, found.targets, found.patients, 0.1)
    n = np.array([one["patients"] for one in each], np.float64)
    covered = float((n * [one["coverage"] for one in each]).sum() / n.sum())
    size = float((n * [one["size"] for one in each]).sum() / n.sum())
    return {
        "coverage": rounded(covered),
        "set_size": rounded(size),
        "cases": int(n.sum()),
        "within_2_points": abs(covered - 0.9) <= 0.02,
    }
