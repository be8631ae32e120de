"""What is unlike training is said to be: by tile, by slide, from a cohort that is streamed, saved and verified."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load, save
from sklearn.covariance import ledoit_wolf as reference_ledoit_wolf
from sklearn.neighbors import NearestNeighbors

from mil.cohort.bags_file import BagsFile
from mil.cohort.cohort import Case, Cohort
from mil.errors import BagError, CalibrationError, CheckpointError, EmptyBagError
from mil.trust import streaming
from mil.trust.arrays import save_arrays
from mil.trust.gaussian import fit_gaussian
from mil.trust.neighbours import fit_neighbours
from mil.trust.outliers import Outliers
from mil.trust.outliers_fit import fit_outliers
from mil.trust.outliers_store import load_outliers, save_outliers
from mil.trust.shrinkage import ledoit_wolf
from mil.trust.streaming import pieces, sample_tiles, slide_pieces

WIDTH = 8


def bags(seed: int, slides: int, shift: float = 0.0) -> list[NDArray[np.float32]]:
    """Slides of 20 to 60 tiles about a centre of their own."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(slides):
        centre = rng.normal(2, 0.5, WIDTH) + shift * np.eye(WIDTH)[0]
        found.append((centre + rng.normal(size=(rng.integers(20, 60), WIDTH))).astype(np.float32))
    return found


def cohort(path: Path, features: list[NDArray[np.float32]], *, split: int = 1) -> Cohort:
    """One patient for each `split` slides, all of them one case."""
    offsets = np.cumsum([0, *(len(part) for part in features)])
    np.savez(path, features=np.concatenate(features), offsets=offsets, slide_id=np.arange(len(features)).astype(str))
    cases = [
        Case(str(row), f"p{row}", "", tuple(range(row * split, (row + 1) * split)), row + 1)
        for row in range(len(features) // split)
    ]
    return Cohort(BagsFile(path), tuple(cases), {})


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return cohort(tmp_path_factory.mktemp("bags") / "train.npz", bags(0, 120))


@pytest.fixture(scope="module")
def fitted(train: Cohort) -> Outliers:
    return fit_outliers(train, tiles=2000)


@pytest.mark.parametrize("shape", [(12, 30), (200, 5)])
def test_shrinkage_agrees_with_scikit_learn(shape: tuple[int, int]) -> None:
    points = np.random.default_rng(0).normal(size=shape) * np.arange(1, shape[1] + 1)
    points -= points.mean(axis=0)
    ours, share = ledoit_wolf(points)
    theirs, wanted = reference_ledoit_wolf(points, assume_centered=True)
    assert ours == pytest.approx(theirs)
    assert share == pytest.approx(wanted)
    assert ledoit_wolf(np.zeros((3, 2)))[1] == 1.0


def test_distance_is_that_of_mahalanobis_where_all_components_are_kept() -> None:
    points = np.random.default_rng(1).normal(size=(400, 4)) @ np.diag([1.0, 2, 3, 4])
    covariance, _ = ledoit_wolf(points - points.mean(axis=0))
    away = points[:9] - points.mean(axis=0)
    wanted = np.sqrt(np.einsum("ni,ij,nj->n", away, np.linalg.inv(covariance), away) / 4)
    assert fit_gaussian(points).distances(points[:9]) == pytest.approx(wanted, rel=1e-4)
    leading = fit_gaussian(points, 2).whitening
    assert leading.shape == (4, 2)
    assert np.abs(leading[:2]).max() < 0.1 * np.abs(leading[2:]).max()


@pytest.mark.parametrize("points", [np.zeros((1, 3)), np.ones((5, 3))])
def test_a_cloud_that_is_none_is_refused(points: NDArray[np.float64]) -> None:
    with pytest.raises(CalibrationError):
        fit_gaussian(points)


def test_neighbours_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(2)
    reference, points = rng.normal(size=(300, 5)), rng.normal(size=(7, 5))
    ours = fit_neighbours(reference, 4)
    theirs = NearestNeighbors(n_neighbors=4).fit(ours.reference)
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    assert ours.distances(points) == pytest.approx(theirs.kneighbors(unit)[0][:, 3], abs=1e-6)
    assert np.isfinite(fit_neighbours(np.zeros((3, 5))).distances(points)).all()


def test_slides_like_training_are_usual_and_others_are_not(fitted: Outliers) -> None:
    usual = [fitted.judge([part]) for part in bags(1, 60)]
    strange = [fitted.judge([part]) for part in bags(2, 20, shift=8.0)]
    assert np.mean([each.share for each in usual]) < 0.03
    assert np.mean([bool(each.reasons) for each in usual]) < 0.1
    assert all(each.share > 0.5 for each in strange)
    assert all("of its tiles are unlike those of training" in each.reasons[0] for each in strange)
    assert all("times as far out as training slides do" in each.reasons[1] for each in strange)


def test_limits_are_of_slides_that_their_model_did_not_see(tmp_path: Path) -> None:
    few = cohort(tmp_path / "few.npz", bags(6, 12))
    fitted = fit_outliers(few)
    own = fitted.slide.distances(sample_tiles(few, 1, 0).means)
    assert fitted.limits.slide > 1.1 * own.max()


def test_pieces_do_not_change_a_verdict(fitted: Outliers) -> None:
    (part,) = bags(3, 1, shift=2.0)
    whole, cut = fitted.judge([part]), fitted.judge([part[:7], part[7:7], part[7:]])
    assert (whole.share, whole.reasons) == (cut.share, cut.reasons)
    assert whole.distance == pytest.approx(cut.distance)


def test_what_cannot_be_judged_is_refused(fitted: Outliers, train: Cohort) -> None:
    with pytest.raises(EmptyBagError):
        fitted.judge([])
    with pytest.raises(BagError, match="8 numbers a tile"):
        fitted.judge([np.zeros((2, 3), np.float32)])
    with pytest.raises(CalibrationError, match="three patients"):
        fit_outliers(train.subset([0, 1]))


def test_sampling_reads_a_case_in_pieces(train: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    features = bags(4, 6)
    pairs = cohort(tmp_path / "pairs.npz", features, split=2)
    whole = sample_tiles(pairs, 30, 0)
    monkeypatch.setattr(streaming, "PIECE", 9)
    cut = sample_tiles(pairs, 30, 0)
    assert cut.tiles.tolist() == whole.tiles.tolist()
    assert cut.owner.tolist() == [0] * 10 + [1] * 10 + [2] * 10
    assert cut.means == pytest.approx(np.stack([np.concatenate(features[i : i + 2]).mean(axis=0) for i in (0, 2, 4)]))
    assert max(len(part) for _, part in pieces(pairs, 0)) == 9
    assert len(sample_tiles(train, 10**6, 0).tiles) == train.sizes().sum()


def test_a_slide_without_a_tile_is_refused(train: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BagsFile, "sizes", property(lambda _: np.zeros(120, np.int64)))
    with pytest.raises(EmptyBagError, match="Slide 7 has no tile"):
        list(slide_pieces(train.source, 7))


def test_a_saved_fit_judges_the_same(fitted: Outliers, tmp_path: Path) -> None:
    save_outliers(replace(fitted, encoder="key@digest"), tmp_path)
    again = load_outliers(tmp_path)
    (part,) = bags(5, 1, shift=3.0)
    assert again.judge([part]).reasons == fitted.judge([part]).reasons
    assert again.tiles(part).tolist() == fitted.tiles(part).tolist()
    assert (again.limits, again.encoder) == (fitted.limits, "key@digest")


def test_a_changed_file_is_refused(fitted: Outliers, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="missing"):
        load_outliers(tmp_path)
    save_outliers(fitted, tmp_path)
    path, record = tmp_path / "outliers.safetensors", tmp_path / "outliers.json"
    content, table = path.read_bytes(), json.loads(record.read_bytes())
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CheckpointError, match="vouches"):
        load_outliers(tmp_path)
    arrays = load(content)
    wrong: dict[str, NDArray[Any]] = {
        "slide_mean": np.zeros(3, np.float32),
        "reference": np.zeros((2, 2), np.float32),
        "tile_mean": np.full(WIDTH, np.nan, np.float32),
        "tile_whitening": np.zeros((WIDTH, 2), np.float64),
        "more": np.zeros(1, np.float32),
    }
    for name, value in wrong.items():
        save_arrays(tmp_path, "outliers", arrays | {name: value}, table["record"])
        with pytest.raises(CheckpointError):
            load_outliers(tmp_path)
    del arrays["reference"]
    save_arrays(tmp_path, "outliers", arrays, table["record"])
    with pytest.raises(CheckpointError, match="is missing"):
        load_outliers(tmp_path)
    save_arrays(tmp_path, "outliers", load(content), table["record"] | {"code": "os"})
    with pytest.raises(CheckpointError, match="code"):
        load_outliers(tmp_path)
    path.write_bytes(save({}))
    with pytest.raises(CheckpointError, match="vouches"):
        load_outliers(tmp_path)
