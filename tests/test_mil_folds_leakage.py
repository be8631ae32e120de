"""What folds by patient do not stop: one slide under two names, and names that say the label."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mil import Bag
from mil.cohort.bags_file import BagsFile
from mil.cohort.cohort import Case, Cohort
from mil.cohort.read import read_cohort
from mil.cohort.spec import CohortSpec
from mil.cohort.write import write_bags
from mil.folds import FoldSpec, leakage_report, make_folds


def cohort(folder: Path, names: Sequence[str], labels: Sequence[str], copies: dict[int, int] | None = None) -> Cohort:
    """Slides of random tiles, some of which are a copy of another but for noise."""
    rng = np.random.default_rng(0)
    made: list[NDArray[np.float32]] = [rng.normal(size=(20, 16)).astype(np.float32) for _ in names]
    for row, of in (copies or {}).items():
        made[row] = made[of] + rng.normal(scale=0.01, size=(20, 16)).astype(np.float32)
    places = np.zeros((20, 2), np.int64)
    write_bags(folder / "b.npz", (Bag(name, each, places) for name, each in zip(names, made, strict=True)))
    cases = tuple(Case(name, f"p{row}", "", (row,), row + 1) for row, name in enumerate(names))
    return Cohort(BagsFile(folder / "b.npz"), cases, {"msi": tuple(labels)})


def test_a_slide_under_two_names_is_found_where_folds_part_the_two(tmp_path: Path) -> None:
    names = [f"s{row}" for row in range(600)]  # more than are compared at a time
    found = cohort(tmp_path, names, [""] * 600, copies={590: 3, 8: 7})
    folds = np.zeros((2, 600), np.int64)
    folds[1, 590] = folds[1, 7] = folds[1, 8] = 1
    (finding,) = leakage_report(found, folds)
    assert (finding.kind, finding.rows) == ("near-duplicate", (4, 591))
    assert leakage_report(found, folds[0]) == []


def test_names_that_say_the_label_are_found_and_the_label_is_not_said(tmp_path: Path) -> None:
    labels = ["MSI-H", "MSS"] * 24
    folds = np.arange(48)
    said = [f"x{row}_{label.lower()}_a" if row < 32 else f"x{row}" for row, label in enumerate(labels)]
    (finding,) = leakage_report(cohort(tmp_path, said, labels), folds)
    assert finding.kind == "label-in-name"
    assert finding.rows == tuple(range(1, 33))
    assert "MSI-H" not in finding.message


def test_codes_in_names_that_say_nothing_are_not_taken_for_labels(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    labels = [str(label) for label in rng.choice(["CR", "PD", "0", "1", ""], 60)]
    names = [f"TCGA-{centre}-{row}-0{row % 2}-1" for row, centre in enumerate(rng.choice(["CR", "PD", "A1"], 60))]
    assert leakage_report(cohort(tmp_path, names, labels), np.arange(60)) == []


def test_a_column_that_is_the_same_for_all_is_no_finding(tmp_path: Path) -> None:
    names = [f"TCGA-{row}" for row in range(30)]
    assert leakage_report(cohort(tmp_path, names, ["tcga"] * 30), np.arange(30)) == []


def test_real_slides_are_no_copies_of_each_other_by_and_large(data_dir: Path) -> None:
    folder = data_dir / "bags"
    spec = CohortSpec(where={"msi": ("MSI-H", "MSI-L", "MSS")})
    real = read_cohort(folder / "tcga_bags.npz", folder / "tcga_labels.csv", spec, ["msi", "response", "project"])
    strata = np.zeros(len(real), np.int64)
    patients, centres = [case.patient for case in real.cases], [case.centre for case in real.cases]
    found = leakage_report(real, make_folds(patients, centres, strata, FoldSpec()))
    assert not [finding for finding in found if finding.kind == "label-in-name"]
