"""Corrected tests of cross-validation, permutations, Holm, and the probes for the centre."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mil.judging.centre import centre_probe, robustness_index
from mil.judging.validation import corrected_t, holm, permutation_p
from mil.metrics import roc_auc


def test_the_corrected_t_is_the_plain_one_where_folds_share_nothing() -> None:
    values = np.random.default_rng(0).normal(0.3, 1, 12)
    mean, low, high, p = corrected_t(values, 0.0)
    plain = scipy.stats.ttest_1samp(values, 0)
    interval = plain.confidence_interval()
    assert (mean, low, high, p) == pytest.approx((values.mean(), interval.low, interval.high, plain.pvalue))
    wider = corrected_t(values, 0.25)
    assert wider[2] - wider[1] == pytest.approx((high - low) * np.sqrt((1 / 12 + 0.25) * 12))
    assert wider[3] > p


def test_folds_without_a_figure_are_dropped() -> None:
    assert corrected_t(np.array([1.0, np.nan, 2.0]), 0.25) == corrected_t(np.array([1.0, 2.0]), 0.25)
    assert np.isnan(corrected_t(np.array([1.0, np.nan]), 0.25)[1:]).all()
    assert np.isnan(corrected_t(np.array([np.nan]), 0.25)).all()


def test_permutations_find_signal_and_only_signal() -> None:
    rng = np.random.default_rng(1)
    truth, who = np.repeat([0.0, 1.0], 15), np.arange(30)
    signal, noise = rng.normal(2 * truth), rng.normal(size=30)
    assert permutation_p(lambda y: roc_auc(y, signal), truth, who, count=200) == pytest.approx(1 / 201)
    assert permutation_p(lambda y: roc_auc(y, noise), truth, who, count=200) > 0.05


def test_patients_change_places_whole() -> None:
    truth, who = np.array([1.0, 1, 0, 0, 1, 0]), np.array([0, 0, 1, 1, 2, 3])
    seen: list[list[float]] = []

    def note(labels: NDArray[np.float64]) -> float:
        seen.append(labels.tolist())
        return 0.0

    permutation_p(note, truth, who, count=30)
    assert all(y[0] == y[1] and y[2] == y[3] and sum(y) == 3 for y in seen)
    assert len({tuple(y) for y in seen}) == 4


@settings(max_examples=30)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_keeps_the_order_and_never_helps(p: list[float]) -> None:
    got, raw = holm(np.array(p)), np.array(p)
    assert (got >= raw - 1e-12).all()
    assert (got <= 1).all()
    assert (np.diff(got[np.argsort(raw, kind="stable")]) >= -1e-12).all()
    assert got.min() == pytest.approx(min(1, raw.min() * raw.size))


def test_holm_leaves_out_what_was_not_tested() -> None:
    got = holm(np.array([0.01, np.nan, 0.04, 0.03]))
    assert np.nan_to_num(got, nan=-1) == pytest.approx([0.03, -1, 0.06, 0.06])


def places(shift: float) -> tuple[NDArray[np.float32], list[str], list[str], list[str]]:
    """Vectors with a shift a centre, and a class that is in another direction."""
    rng = np.random.default_rng(4)
    centre, biology = np.repeat([0, 1, 2], 40), np.tile([0, 1], 60)
    x = rng.normal(0, 0.5, (120, 6))
    x[np.arange(120), centre] += shift
    x[np.arange(120), 3 + biology] += 2
    return x.astype(np.float32), [f"c{i}" for i in centre], [f"p{i}" for i in range(120)], [f"b{i}" for i in biology]


def test_the_probe_finds_a_centre_that_is_there_and_none_that_is_not() -> None:
    vectors, centres, patients, _ = places(3.0)
    found = centre_probe(vectors, centres, patients)
    assert found["balanced_accuracy"] > 0.95
    assert found["chance"] == pytest.approx(1 / 3)
    vectors, *_ = places(0.0)
    assert centre_probe(vectors, centres, patients)["balanced_accuracy"] < 0.5


def test_the_probe_learns_nothing_from_other_slides_of_a_patient() -> None:
    rng = np.random.default_rng(0)
    own = rng.normal(size=(40, 30))
    vectors = np.repeat(own, 5, axis=0) + rng.normal(0, 0.01, (200, 30))
    patients = [f"p{i}" for i in np.repeat(np.arange(40), 5)]
    centres = [f"c{i % 2}" for i in np.repeat(np.arange(40), 5)]
    assert centre_probe(vectors.astype(np.float32), centres, patients)["balanced_accuracy"] < 0.75


def test_too_few_patients_of_a_centre_are_left_out_and_said() -> None:
    vectors, centres, patients, _ = places(3.0)
    few = [*centres[:45], *([""] * 75)]
    got = centre_probe(vectors, few, patients)
    assert (got["centres"], got["n"], got["left_out"]) == (1, 40, 80)
    assert got["balanced_accuracy"] is None
    assert got["reason"]


def test_the_robustness_index_is_counted_over_neighbours() -> None:
    vectors, centres, _, biology = places(1.0)
    got = robustness_index(vectors, biology, centres, k=4)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    so = os = 0
    for i in range(120):
        order = [j for j in np.argsort(-(unit @ unit[i])) if j != i][:4]
        so += sum(biology[j] == biology[i] and centres[j] != centres[i] for j in order)
        os += sum(biology[j] != biology[i] and centres[j] == centres[i] for j in order)
    assert (got["so"], got["os"], got["index"]) == (so, os, pytest.approx(so / (so + os)))
    assert robustness_index(places(6.0)[0], biology, centres)["index"] < got["index"]


def test_a_single_centre_has_no_robustness_index() -> None:
    vectors, *_ = places(0.0)
    for what, place in ((["b"] * 20, ["c", "d"] * 10), (["b", "a"] * 10, ["c"] * 20)):
        got = robustness_index(vectors[:20], what, place)
        assert got["index"] is None
        assert got["reason"] == "there is one biology alone, or one centre"
    assert robustness_index(vectors[:1], ["b"], ["c"])["index"] is None
