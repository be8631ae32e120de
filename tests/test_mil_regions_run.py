"""Labelled regions and co-teaching in a run: keys of its TOML, checked before anything is trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mil.errors import CohortError, ExperimentError
from mil.experiment.development import prepare
from mil.experiment.fold import fit_fold
from mil.experiment.read import read_experiment
from mil.experiment.run import run_experiment
from mil.folds import make_folds
from mil.tasks.cox import Cox

TOML = """
[experiment]
name = "toy"
purpose = "To be run by a test."
[data]
bags = "bags.npz"
labels = "labels.csv"
[task]
kind = "binary"
[head]
name = "abmil"
hidden = 4
[training]
epochs = 2
min_epochs = 1
[folds]
count = 2
[coteaching]
noise = 0.2
[regions]
file = "regions.csv"
"""


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    """24 slides of 8 tiles, two of each of which are labelled; a slide without a label is named too."""
    rng = np.random.default_rng(0)
    names = [f"s{i}" for i in range(25)]
    features = rng.normal(size=(200, 3)).astype(np.float16)
    np.savez(tmp_path / "bags.npz", features=features, offsets=np.arange(26) * 8, slide_id=names)
    lines = ["slide_id,patient,label", *(f"{name},{name},{i % 2}" for i, name in enumerate(names[:24])), "s24,s24,"]
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    regions = [f"{name},{x},0,{i % 2}" for i, name in enumerate(names) for x in (6, 2)]
    (tmp_path / "regions.csv").write_text("\n".join(["slide,x,y,label", *regions]))
    (tmp_path / "experiment.toml").write_text(TOML)
    return tmp_path / "experiment.toml"


def test_annotated_tiles_follow_their_cases_into_the_folds(toml: Path) -> None:
    data = prepare(read_experiment(toml))
    part = data.part(np.array([5, 2]))
    assert [one.targets[:, 0].tolist() for one in part.marks if one is not None] == [[1, 1], [0, 0]]
    assert [one.tiles.tolist() for one in part.marks if one is not None] == [[2, 6], [2, 6]]


def test_annotated_tiles_change_what_is_learnt_and_a_twin_does_too(toml: Path) -> None:
    experiment = read_experiment(toml)
    data = prepare(experiment)
    folds = make_folds(data.patients, data.centres, data.strata, experiment.folds)[0]
    alone = replace(experiment, coteaching=replace(experiment.coteaching, noise=0.0))
    fits = [fit_fold(one, data, folds, 0).logits for one in (experiment, experiment, alone)]
    fits.append(fit_fold(alone, replace(data, marks=()), folds, 0).logits)
    np.testing.assert_array_equal(fits[0], fits[1])
    assert not np.array_equal(fits[0], fits[2])
    assert not np.array_equal(fits[2], fits[3])


def test_what_cannot_be_used_is_said_before_anything_is_trained(toml: Path) -> None:
    experiment, out = read_experiment(toml), toml.parent / "run"
    with pytest.raises(ExperimentError, match="use hazard"):
        run_experiment(replace(experiment, task=Cox()), b"", out)
    with (toml.parent / "regions.csv").open("a") as file:
        file.write("\ns0,9,0,1")
    with pytest.raises(CohortError, match=r"Row 51 .* lies in no tile"):
        run_experiment(experiment, b"", out)
    assert not out.exists()


def test_a_run_with_other_regions_is_another_run(toml: Path) -> None:
    experiment, out = read_experiment(toml), toml.parent / "run"
    run_experiment(experiment, TOML.encode(), out)
    run_experiment(experiment, TOML.encode(), out)
    text = (toml.parent / "regions.csv").read_text()
    (toml.parent / "regions.csv").write_text(text.replace("s3,6", "s3,7"))
    with pytest.raises(ExperimentError, match="something else"):
        run_experiment(experiment, TOML.encode(), out)
