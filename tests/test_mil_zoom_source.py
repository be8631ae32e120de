"""A cohort of several zooms is trained, saved, scored and explained by what trains, saves, scores and explains any."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mil import Bag, explain_tiles, load_fit, roc_auc, save_fit
from mil.cohort.bags_file import BagsFile
from mil.cohort.read import open_bags
from mil.cohort.source import BagSource
from mil.cohort.write import write_bags
from mil.errors import CohortError
from mil.experiment.development import Development, prepare
from mil.experiment.experiment import Experiment
from mil.experiment.fold import FoldFit, fit_fold
from mil.experiment.read import read_experiment
from mil.zoom.source import ZoomSource, read_zooms

ZOOMS = '[[zoom]]\nbags = "cells.npz"\n[[zoom]]\nbags = "tissue.npz"\nmpp = 2\n'


def bags(width: int, mpp: tuple[float, ...], names: list[str], seed: int) -> list[Bag]:
    rng = np.random.default_rng(seed)
    return [
        Bag(
            name,
            rng.normal(size=(3 + row, width)).astype(np.float32),
            rng.integers(0, 99, (3 + row, 2)),
            mpp=mpp,
            encoder=f"e{width}@0",
        )
        for row, name in enumerate(names)
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_bags(tmp_path / "cells.npz", bags(4, (0.5,), ["a", "b"], 0), "float32")
    write_bags(tmp_path / "tissue.npz", bags(2, (), ["b", "c"], 1), "float32")
    (tmp_path / "zooms.toml").write_text(ZOOMS)
    return tmp_path


def test_slides_are_the_union_and_rows_those_of_the_plan(folder: Path) -> None:
    source = open_bags(folder / "zooms.toml")
    assert isinstance(source, ZoomSource)
    assert isinstance(source, BagSource)
    cells, tissue = (BagsFile(folder / name) for name in ("cells.npz", "tissue.npz"))
    assert source.ids == ("a", "b", "c")
    assert source.sizes.tolist() == [3, 4 + 3, 4]
    assert (source.width, source.mpp, source.encoder) == (2 + 4 + 2, (0.5, 2.0), "e4@0|e2@0")
    whole = source.features(1)
    np.testing.assert_array_equal(whole[:4, 2:6], cells.features(1))
    np.testing.assert_array_equal(whole[4:, 6:], tissue.features(0))
    np.testing.assert_array_equal(source.coords(1), np.concatenate([cells.coords(1), tissue.coords(0)]))
    np.testing.assert_array_equal(source.coords(2), tissue.coords(1))
    assert source.plan.zoom_of(source.features(2)).tolist() == [1] * 4
    some = np.array([0, 3, 4, 6])
    np.testing.assert_array_equal(source.features(1, some), whole[some])
    np.testing.assert_array_equal(source.features(1, np.array([2, 5])), whole[[2, 5]])
    assert source.features(1, np.zeros(0, np.int64)).shape == (0, 8)


def test_what_is_in_the_zooms_names_the_source(folder: Path) -> None:
    before = open_bags(folder / "zooms.toml").fingerprint
    assert before == open_bags(folder / "zooms.toml").fingerprint
    (folder / "zooms.toml").write_text(ZOOMS.replace("mpp = 2", "mpp = 4"))
    assert open_bags(folder / "zooms.toml").fingerprint != before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no toml", "cannot be read"),
        ("[[zoom]]\nbags = 3\n", "cannot be read"),
        ('[[zoom]]\nbags = "cells.npz"\nmore = 1\n', "cannot be read"),
        ("zoom = 1\n", "tables"),
        ("more = 1\n" + ZOOMS, "tables"),
        ("", "tables"),
        (ZOOMS.replace("mpp = 2\n", ""), "its scale"),
    ],
)
def test_a_file_of_zooms_is_read_strictly(folder: Path, text: str, said: str) -> None:
    (folder / "zooms.toml").write_text(text)
    with pytest.raises(CohortError, match=said):
        read_zooms(folder / "zooms.toml", open_bags)


def test_slides_that_nobody_shares_are_refused(folder: Path) -> None:
    write_bags(folder / "tissue.npz", bags(2, (), ["x", "y"], 1), "float32")
    with pytest.raises(CohortError, match="called the same"):
        open_bags(folder / "zooms.toml")


EXPERIMENT = """
[experiment]
name = "two zooms"
purpose = "a test"
[data]
bags = "zooms.toml"
labels = "labels.csv"
[task]
kind = "binary"
column = "label"
[head]
name = "zooms"
widths = "4,2"
hidden = 8
attention = 4
fused = 4
[training]
epochs = 12
lr = 0.01
ema = 0.0
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Experiment, Development, FoldFit]:
    """Slides whose label is said by both zooms; of every fifth one is absent."""
    folder, rng = tmp_path_factory.mktemp("two"), np.random.default_rng(0)
    labels = rng.integers(0, 2, 60)
    cells = [bag for bag in bags(4, (0.5,), [f"s{row}" for row in range(60)], 2) if int(bag.id[1:]) % 10 != 5]
    tissue = [bag for bag in bags(2, (), [f"s{row}" for row in range(60)], 3) if int(bag.id[1:]) % 10 != 0]
    moved = [
        replace(bag, features=bag.features + np.float32(1.5 * labels[int(bag.id[1:])])) for bag in (*cells, *tissue)
    ]
    write_bags(folder / "cells.npz", moved[: len(cells)], "float32")
    write_bags(folder / "tissue.npz", moved[len(cells) :], "float32")
    (folder / "zooms.toml").write_text(ZOOMS)
    (folder / "labels.csv").write_text(
        "slide_id,patient,label\n" + "".join(f"s{row},p{row},{label}\n" for row, label in enumerate(labels))
    )
    (folder / "two.toml").write_text(EXPERIMENT)
    experiment = read_experiment(folder / "two.toml")
    data = prepare(experiment)
    return experiment, data, fit_fold(experiment, data, np.arange(60) % 3, 0)


def test_the_fused_head_is_trained_by_the_loop_that_trains_any(
    trained: tuple[Experiment, Development, FoldFit],
) -> None:
    experiment, data, found = trained
    assert len(data.cohort) == 60
    assert found.fit.mpp == (0.5, 2.0)
    assert roc_auc(data.targets[found.rows, 0], found.logits[:, 0]) > 0.9
    again = fit_fold(replace(experiment, training=replace(experiment.training, epochs=2)), data, np.arange(60) % 3, 0)
    assert not np.array_equal(again.logits, found.logits)


def test_the_fused_head_is_saved_and_explained_by_zoom(
    trained: tuple[Experiment, Development, FoldFit], tmp_path: Path
) -> None:
    _, data, found = trained
    save_fit(found.fit, tmp_path)
    fit, bag = load_fit(tmp_path), data.cohort.bag(6)
    assert fit.digest == found.fit.digest
    why = explain_tiles(fit, bag)
    source = data.cohort.source
    assert isinstance(source, ZoomSource)
    zoom = source.plan.zoom_of(bag.features)
    assert why.method == "contribution"
    assert why.gap == pytest.approx(0, abs=1e-4)
    by_zoom = [float(why.values[zoom == slot].sum()) for slot in range(2)]
    assert sum(by_zoom) + float(fit.head.bias[0]) == pytest.approx(why.logit, abs=1e-4)
    lone = replace(bag, features=bag.features[zoom == 1], coords=bag.coords[zoom == 1])
    assert np.isfinite(explain_tiles(fit, lone, "leave-one-out").values).all()
