"""What a site adds to its tiles is taken away, from its own slides and without labels; what is kept stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mil.cohort.bags_file import BagsFile
from mil.errors import CalibrationError
from mil.trust import streaming
from mil.trust.combat import Combat, fit_combat
from mil.trust.coral import Coral, fit_coral
from mil.trust.harmonised import Harmonised, digest_of, harmonise
from mil.trust.moments import Moments, slide_moments
from mil.trust.priors import shrink

WIDTH = 6
SITES = ["a", "b", "c"]


def source(path: Path, sites: list[str], *, effect: float = 1.0, seed: int = 0, kept: bool = False) -> BagsFile:
    """Slides whose site shifts and scales their tiles; every second slide has 3 more in dimension 0 if `kept`."""
    rng = np.random.default_rng(seed)
    own = np.random.default_rng(99)
    shifts = {site: effect * own.normal(0, 2, WIDTH) for site in SITES}
    scales = {site: np.exp(effect * own.normal(0, 0.5, WIDTH)) for site in SITES}
    bags = []
    for row, site in enumerate(sites):
        tiles = rng.normal(0, 0.2, WIDTH) + rng.normal(size=(rng.integers(10, 30), WIDTH))
        bags.append(tiles * scales[site] + shifts[site] + 3 * (kept and row % 2) * np.eye(WIDTH)[0])
    offsets = np.cumsum([0, *(len(bag) for bag in bags)])
    np.savez(
        path,
        features=np.concatenate(bags).astype(np.float32),
        offsets=offsets,
        slide_id=np.arange(len(bags)).astype(str),
    )
    return BagsFile(path)


def by_site(moments: Moments, sites: list[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and total variance of each site, slides counting once."""
    rows = [np.array(sites) == site for site in sorted(set(sites))]
    means = np.stack([moments.means[row].mean(axis=0) for row in rows])
    squares = [moments.variances[row] + (moments.means[row] - mean) ** 2 for row, mean in zip(rows, means, strict=True)]
    return means, np.stack([square.mean(axis=0) for square in squares])


def test_moments_are_of_all_tiles_however_they_are_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bags = source(tmp_path / "bags.npz", ["a", "b"])
    monkeypatch.setattr(streaming, "PIECE", 4)
    found = slide_moments(bags)
    for row in range(2):
        assert found.means[row] == pytest.approx(bags.features(row).mean(axis=0), abs=1e-5)
        assert found.variances[row] == pytest.approx(bags.features(row).var(axis=0), abs=1e-4)


def test_means_and_variances_of_sites_are_made_one() -> None:
    rng = np.random.default_rng(0)
    sites = SITES * 2000
    shift, scale = rng.normal(0, 2, (3, WIDTH)), np.exp(rng.normal(0, 0.5, (3, WIDTH)))
    means = rng.normal(0, 0.2, (6000, WIDTH)) * np.tile(scale, (2000, 1)) + np.tile(shift, (2000, 1))
    before = Moments(means, rng.gamma(9, 1 / 9, (6000, WIDTH)) * np.tile(scale, (2000, 1)) ** 2)
    fit = fit_combat(before, sites)
    after = Moments(means.copy(), before.variances.copy())
    for name in SITES:
        own = np.array(sites) == name
        site = fit.maps(before.rows(own))[0]
        after.means[own] = means[own] * site.scale + site.shift
        after.variances[own] *= site.scale**2
    found, variances = by_site(after, sites)
    assert np.ptp(found, axis=0).max() < 0.01
    assert (variances.max(axis=0) / variances.min(axis=0)).max() < 1.02
    assert found.mean(axis=0) == pytest.approx(means.mean(axis=0), abs=0.01)
    assert variances.mean(axis=0) == pytest.approx(fit.sigma**2, rel=0.01)


def test_one_site_alone_is_left_as_it_is(tmp_path: Path) -> None:
    bags = source(tmp_path / "bags.npz", ["a"] * 8)
    for reference in (fit_combat(slide_moments(bags), ["a"] * 8), fit_coral(bags, range(8))):
        assert harmonise(bags, ["a"] * 8, reference).features(3) == pytest.approx(bags.features(3), abs=1e-4)


def test_a_reference_site_is_left_as_it_is_and_the_others_are_made_like_it(tmp_path: Path) -> None:
    sites = SITES * 30
    bags = source(tmp_path / "bags.npz", sites)
    moments = slide_moments(bags)
    found = harmonise(bags, sites, fit_combat(moments, sites, reference="b"), moments=moments)
    assert found.features(1) == pytest.approx(bags.features(1), abs=1e-4)
    means = by_site(slide_moments(found), sites)[0]
    assert means == pytest.approx(np.repeat(by_site(moments, sites)[0][1:2], 3, axis=0), abs=0.2)
    with pytest.raises(CalibrationError, match="not a site"):
        fit_combat(moments, sites, reference="d")


def test_what_a_covariate_explains_is_kept(tmp_path: Path) -> None:
    # Site a has mostly odd slides, so that taking its mean away would take the effect away too.
    sites = [site for row in range(60) for site in ("a" if row % 6 in {1, 3, 5, 0} else "b",)]
    bags = source(tmp_path / "bags.npz", sites, kept=True)
    odd = (np.arange(60) % 2)[:, None].astype(np.float64)
    moments = slide_moments(bags)
    fit = fit_combat(moments, sites, odd)
    means = slide_moments(harmonise(bags, sites, fit, odd)).means[:, 0]
    blind = slide_moments(harmonise(bags, sites, fit_combat(moments, sites))).means[:, 0]
    kept, lost = (each[1::2].mean() - each[::2].mean() for each in (means, blind))
    assert kept == pytest.approx(float(fit.beta[0, 0]), abs=0.3)
    assert abs(kept) > abs(lost)
    with pytest.raises(CalibrationError, match="1 covariates each"):
        fit.maps(moments)


@pytest.mark.parametrize("method", ["combat", "coral"])
def test_an_unseen_site_is_made_like_the_reference_from_its_own_slides_alone(tmp_path: Path, method: str) -> None:
    seen, unseen = ["a", "b"] * 20, ["c"] * 40
    train, other = source(tmp_path / "train.npz", seen), source(tmp_path / "other.npz", unseen, seed=1)
    moments = slide_moments(train)
    reference = fit_combat(moments, seen) if method == "combat" else fit_coral(train, range(40))
    after = slide_moments(harmonise(other, unseen, reference))
    wanted = moments.means.mean(axis=0)
    assert after.means.mean(axis=0) == pytest.approx(wanted, abs=0.15)
    assert np.abs(slide_moments(other).means.mean(axis=0) - wanted).max() > 1


def test_the_covariance_is_that_of_all_tiles_where_slides_are_of_one_size(tmp_path: Path) -> None:
    tiles = np.random.default_rng(0).normal(3, [1, 2, 3], (60, 3)).astype(np.float32)
    np.savez(tmp_path / "bags.npz", features=tiles, offsets=np.arange(0, 61, 10))
    found = fit_coral(BagsFile(tmp_path / "bags.npz"), range(6))
    assert found.covariance == pytest.approx(np.cov(tiles.T, bias=True), abs=1e-4)
    assert (found.mean.tolist(), found.slides) == (pytest.approx(tiles.mean(axis=0)), 6)


def test_directions_are_aligned_by_as_much_as_the_slides_are_worth() -> None:
    rng = np.random.default_rng(0)
    root = rng.normal(size=(2, WIDTH, WIDTH))
    own, wanted = root[0] @ root[0].T + np.eye(WIDTH), root[1] @ root[1].T + np.eye(WIDTH)
    reference = Coral(np.zeros(WIDTH), wanted, 500)

    def after(slides: int) -> NDArray[np.float64]:
        matrix = reference.map(Coral(np.ones(WIDTH), own, slides)).matrix.astype(np.float64)
        return np.asarray(matrix.T @ own @ matrix)

    assert after(10**6) == pytest.approx(wanted, rel=0.1, abs=0.3)
    off = [float(np.abs(after(slides) - wanted).max()) for slides in (1, 10, 100, 1000)]
    assert off == sorted(off, reverse=True)
    assert off[0] > 3 * off[-1]
    moved = reference.map(Coral(np.ones(WIDTH), wanted, 3))(np.ones((1, WIDTH), np.float32))
    assert moved == pytest.approx(np.zeros((1, WIDTH)), abs=1e-5)


@settings(max_examples=20)
@given(st.integers(0, 1000), st.integers(1, 20))
def test_shrinkage_lies_between_the_estimate_and_the_mean_of_all_dimensions(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    means, variances = rng.normal(rng.normal(0, 1, 9), 1, (count, 9)), rng.gamma(2, 1, (count, 9))
    shift, square = shrink(means, variances)
    raw = means.mean(axis=0)
    low, high = np.minimum(raw, raw.mean()), np.maximum(raw, raw.mean())
    assert ((shift >= low - 1e-9) & (shift <= high + 1e-9)).all()
    if count > 1:  # both solve the equations of the paper together
        first = (variances + (means - raw) ** 2).mean(axis=0)
        middle, apart = first.mean(), first.var(ddof=1)
        shape, rate = (2 * apart + middle**2) / apart, (middle * apart + middle**3) / apart
        total = (variances + (means - shift) ** 2).sum(axis=0)
        assert square == pytest.approx((rate + total / 2) / (count / 2 + shape - 1), rel=1e-4)
        width = raw.var(ddof=1)
        assert shift == pytest.approx((count * width * raw + square * raw.mean()) / (count * width + square), abs=1e-4)


def test_of_one_slide_only_the_mean_is_moved_and_part_of_the_way() -> None:
    fit = Combat(np.zeros(WIDTH), np.zeros((0, WIDTH)), np.ones(WIDTH))
    alone = Moments(np.arange(WIDTH, dtype=np.float64)[None], np.zeros((1, WIDTH)))  # of one tile
    (site,) = fit.maps(alone)
    assert site.scale == pytest.approx(np.ones(WIDTH))
    after = alone.means[0] * site.scale + site.shift
    assert (np.abs(after) < np.abs(alone.means[0] - alone.means.mean())).sum() >= 4
    same = Moments(np.ones((2, WIDTH)), np.zeros((2, WIDTH)))
    assert np.isfinite(fit.maps(same)[0].shift).all()


def test_a_harmonised_source_is_a_source_of_another_name(tmp_path: Path) -> None:
    sites = SITES * 4
    bags = source(tmp_path / "bags.npz", sites)
    reference = fit_combat(slide_moments(bags), sites)
    found = harmonise(bags, sites, reference)
    assert isinstance(found, Harmonised)
    assert (found.ids, found.width, found.mpp) == (bags.ids, bags.width, bags.mpp)
    assert found.sizes.tolist() == bags.sizes.tolist()
    assert found.coords(2).tolist() == bags.coords(2).tolist()
    assert found.encoder == f"like {digest_of(reference)}"
    assert found.fingerprint != bags.fingerprint
    assert found.fingerprint == harmonise(bags, sites, reference).fingerprint
    some = np.array([1, 4])
    assert found.features(5, some).tolist() == found.features(5)[some].tolist()


def test_what_cannot_be_standardised_is_refused(tmp_path: Path) -> None:
    bags = source(tmp_path / "bags.npz", SITES)
    moments, coral = slide_moments(bags), fit_coral(bags, [0, 1])
    with pytest.raises(CalibrationError, match="Slide 1 has no site"):
        harmonise(bags, ["a", "", "c"], coral)
    with pytest.raises(CalibrationError, match="Slide 2 has no site"):
        harmonise(bags, ["a", "b"], coral)
    with pytest.raises(CalibrationError, match="no covariates"):
        harmonise(bags, SITES, coral, np.zeros((3, 1)))
    with pytest.raises(CalibrationError, match="as many sites"):
        fit_combat(moments, ["a"])
    with pytest.raises(CalibrationError, match="some combination of them is a site"):
        fit_combat(moments, SITES, np.ones((3, 1)))
    with pytest.raises(CalibrationError, match="one slide at least"):
        fit_coral(bags, [])
    with pytest.raises(CalibrationError, match="the site 2"):
        coral.map(Coral(np.zeros(2), np.eye(2), 1))
