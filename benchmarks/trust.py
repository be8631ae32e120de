"""What trust is worth on real slides: sets of ensembles, slides unlike training, and centres made alike.

    python benchmarks/trust.py [--data ../shared/data] [--seeds 10]

MSI-high in colorectal carcinoma (TCGA; features of HIPT, which was trained on TCGA without labels), logistic regression
on mean and deviation of tiles. Nothing is chosen on test. One JSON object is printed last. Research use only.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mil.cohort.cohort import Cohort
from mil.cohort.read import read_cohort
from mil.cohort.source import BagSource
from mil.cohort.spec import CohortSpec
from mil.judging.harmonising import Window
from mil.metrics import roc_auc
from mil.tasks.binary import Binary
from mil.trust.combat import fit_combat
from mil.trust.coral import fit_coral
from mil.trust.fit import fit_trust
from mil.trust.harmonised import harmonise
from mil.trust.moments import slide_moments
from mil.trust.outliers_fit import fit_outliers
from mil.trust.streaming import pieces

ROOT = Path(__file__).resolve().parents[1]
TASK = Binary()
CANCERS = ("COAD", "READ", "STAD", "LUAD", "KIRC", "GBM", "PRAD")
MOST = 150
"""Slides judged of each cancer."""
Rows = NDArray[np.int64]
Features = NDArray[np.float64]


class Colorectal:
    """The cases, as features of slides."""

    def __init__(self, data: Path) -> None:
        known = {"project": ("COAD", "READ"), "msi": ("MSI-H", "MSI-L", "MSS")}
        cohort = read(data, known, ["msi"])
        rows = [case.slides[0] for case in cohort.cases]
        self.source: BagSource = Window(cohort.source, rows, cohort.source.encoder)
        self.truth = np.array([text == "MSI-H" for text in cohort.table["msi"]], np.float32)
        self.patients = np.array([case.patient for case in cohort.cases])
        self.centres = np.array([case.centre for case in cohort.cases])
        self.raw = pooled(self.source)

    def folds(self, groups: NDArray[np.str_], seed: int, count: int = 5) -> list[tuple[Rows, Rows]]:
        """Rows to learn from and to judge."""
        return list(StratifiedGroupKFold(count, shuffle=True, random_state=seed).split(self.raw, self.truth, groups))

    def said(self, features: Features, learn: Rows, judge: Rows) -> Features:
        """Logits of the judged."""
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=3000))
        return np.asarray(model.fit(features[learn], self.truth[learn]).decision_function(features[judge]))


def main() -> None:
    """Measure, print."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    cli.add_argument("--seeds", type=int, default=10, help="splits that are averaged")
    arguments = cli.parse_args()
    cases = Colorectal(arguments.data)
    found = {
        "cases": len(cases.truth),
        "positive": int(cases.truth.sum()),
        "centres_made_alike": centres(cases, arguments.seeds),
        "sets_of_an_ensemble": sets(cases, arguments.seeds),
        "unlike_colon": outliers(arguments.data),
        "cores": os.cpu_count(),
    }
    print(json.dumps(found, indent=1))


def read(data: Path, where: dict[str, tuple[str, ...]], columns: list[str]) -> Cohort:
    """Cases of one cancer or some."""
    bags = data / "bags"
    return read_cohort(bags / "tcga_bags.npz", bags / "tcga_labels.csv", CohortSpec(where=where), columns)


def pooled(source: BagSource) -> Features:
    """Mean and deviation of the tiles of each slide."""
    moments = slide_moments(source)
    return np.hstack([moments.means, np.sqrt(moments.variances)])


def centres(cases: Colorectal, seeds: int) -> dict[str, Any]:
    """AUROC with folds by centre, and how well the centre is told from a slide, before and after."""
    sites = cases.centres.tolist()
    combat = harmonise(cases.source, sites, fit_combat(slide_moments(cases.source), sites))
    coral = harmonise(cases.source, sites, fit_coral(cases.source, range(len(sites))))
    kinds = {"as they are": cases.raw, "combat": pooled(combat), "coral": pooled(coral)}
    return {name: _centres(cases, features, seeds) for name, features in kinds.items()}


def _centres(cases: Colorectal, features: Features, seeds: int) -> dict[str, float]:
    areas = []
    for seed in range(seeds):
        logits = np.zeros(len(cases.truth))
        for learn, judge in cases.folds(cases.centres, seed):
            logits[judge] = cases.said(features, learn, judge)
        areas.append(roc_auc(cases.truth, logits))
    names, counts = np.unique(cases.centres, return_counts=True)
    large = np.flatnonzero(np.isin(cases.centres, names[counts >= 15]))
    told = np.zeros(len(large), np.bool_)
    own, people = cases.centres[large], cases.patients[large]
    for learn, judge in StratifiedGroupKFold(5, shuffle=True, random_state=0).split(large, own, people):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=3000))
        told[judge] = model.fit(features[large[learn]], own[learn]).predict(features[large[judge]]) == own[judge]
    spread = float(np.std(areas, ddof=1)) if seeds > 1 else 0.0
    return {"auroc": digits(np.mean(areas)), "sd_over_splits": digits(spread), "centre_told": digits(told.mean())}


def sets(cases: Colorectal, seeds: int) -> dict[str, Any]:
    """Coverage by class of 90 % sets on a fourth of the patients: of one member, of five together, and CV+."""
    found: dict[str, list[list[float]]] = {"one member": [], "ensemble": [], "cross-conformal": []}
    for seed in range(seeds):
        learn, judge = cases.folds(cases.patients, seed, 4)[0]
        people, truth = cases.patients[learn], cases.truth[learn]
        inner = list(StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(learn, truth, people))
        logits, members = np.zeros(len(learn)), []
        for rest, own in inner:
            logits[own] = cases.said(cases.raw, learn[rest], learn[own])
            members.append(cases.said(cases.raw, learn[rest], judge))
        trust = fit_trust(TASK, logits[:, None], truth[:, None], people.tolist())
        every = np.array(members)
        found["one member"].append(_held(np.asarray(trust.apply(every[0][:, None]).sets[0]), cases.truth[judge]))
        found["ensemble"].append(_held(np.asarray(trust.apply(every[:, :, None]).sets[0]), cases.truth[judge]))
        crossed = np.zeros((len(judge), 2), np.bool_)
        for answer, sign in ((0, -1.0), (1, 1.0)):
            stranger = np.zeros(len(judge))
            for (_, own), member in zip(inner, every, strict=True):
                rows = own[truth[own] == answer]
                stranger += (-sign * logits[rows][:, None] >= -sign * member).sum(axis=0)
            crossed[:, answer] = (1 + stranger) / (1 + (truth == answer).sum()) > 0.1
        found["cross-conformal"].append(_held(crossed, cases.truth[judge]))
    names = ("negative", "positive", "single")
    return {kind: dict(zip(names, map(digits, np.mean(rows, axis=0)), strict=True)) for kind, rows in found.items()}


def _held(sets_: NDArray[np.bool_], truth: NDArray[np.float32]) -> list[float]:
    hit = sets_[np.arange(len(truth)), truth.astype(np.int64)]
    return [hit[truth == 0].mean(), hit[truth == 1].mean(), (sets_.sum(axis=1) == 1).mean()]


def outliers(data: Path) -> dict[str, Any]:
    """Share of tiles and slides of other cancers that are unlike colon."""
    usual = fit_outliers(read(data, {"project": ("COAD",)}, ["project"]))
    found = {}
    for cancer in CANCERS:
        cohort = read(data, {"project": (cancer,)}, ["project"])
        count = min(len(cohort), MOST)
        judged = [usual.judge(part for _, part in pieces(cohort, case)) for case in range(count)]
        tiles, slides = np.mean([one.share for one in judged]), np.mean([bool(one.reasons) for one in judged])
        found[cancer] = {"slides": count, "tiles_outlying": digits(tiles), "slides_outlying": digits(slides)}
    return found


def digits(value: float | np.floating[Any]) -> float:
    """Three digits."""
    return round(float(value), 3)


if __name__ == "__main__":
    main()
