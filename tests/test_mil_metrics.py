"""AUROC from ranks agrees with counting pairs, whatever the ties."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mil import LabelError, MetricError, roc_auc
from mil.metrics import midranks

CASES = st.lists(st.tuples(st.integers(0, 1), st.integers(-3, 3)), min_size=2, max_size=30)


def by_pairs(labels: list[int], scores: list[float]) -> float:
    ones = [s for s, y in zip(scores, labels, strict=True) if y]
    zeros = [s for s, y in zip(scores, labels, strict=True) if not y]
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in itertools.product(ones, zeros)]
    return sum(wins) / len(wins)


@given(CASES)
def test_auroc_is_the_share_of_pairs_won(cases: list[tuple[int, int]]) -> None:
    labels, scores = [y for y, _ in cases], [float(s) for _, s in cases]
    assume(0 < sum(labels) < len(labels))
    assert roc_auc(labels, scores) == pytest.approx(by_pairs(labels, scores))


@given(CASES)
def test_auroc_sees_order_only_and_mirrors(cases: list[tuple[int, int]]) -> None:
    labels, scores = np.array([y for y, _ in cases]), np.array([float(s) for _, s in cases])
    assume(0 < labels.sum() < len(labels))
    assert roc_auc(labels, np.exp(scores)) == pytest.approx(roc_auc(labels, scores))
    assert roc_auc(labels, -scores) == pytest.approx(1 - roc_auc(labels, scores))


def test_midranks_sum_to_the_sum_of_ranks() -> None:
    values = np.array([3.0, 1.0, 3.0, 3.0, 2.0])
    assert midranks(values).tolist() == [4.0, 1.0, 4.0, 4.0, 2.0]


@pytest.mark.parametrize("labels", [[1, 1, 1], [0, 0, 0], [0, 1, 2], [0, 1, float("nan")]])
def test_labels_that_cannot_be_judged_are_refused(labels: list[float]) -> None:
    with pytest.raises(LabelError):
        roc_auc(labels, [0.1, 0.2, 0.3])


@pytest.mark.parametrize("scores", [[0.1, 0.2], [0.1, 0.2, float("nan")], []])
def test_scores_that_cannot_be_ranked_are_refused(scores: list[float]) -> None:
    with pytest.raises(MetricError):
        roc_auc([0, 1, 1], scores)
