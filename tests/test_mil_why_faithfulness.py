"""The faithfulness figure: curves of the head's own scores, an area that ranks maps, and a reference of chance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mil.why.faithfulness import FRACTIONS, flip


class Sum:
    """Each tile adds its own number: removing tiles is arithmetic."""

    def __init__(self, worth: NDArray[np.float64]) -> None:
        self.worth, self.asked = worth, list[int]()

    @property
    def count(self) -> int:
        return len(self.worth)

    def scores(self, subsets: Sequence[NDArray[np.int64]]) -> NDArray[np.float64]:
        self.asked += [len(tiles) for tiles in subsets]
        return np.array([self.worth[tiles].sum() for tiles in subsets])


def test_curves_are_the_scores_of_what_is_left() -> None:
    worth = np.random.default_rng(0).normal(size=40)
    found = flip(Sum(worth), worth)
    falling, rising = np.sort(worth)[::-1], np.sort(worth)
    for point, gone in enumerate(range(0, 40, 2)):
        assert found.removed[point] == pytest.approx(gone / 40)
        assert found.most_first[point] == pytest.approx(falling[gone:].sum())
        assert found.least_first[point] == pytest.approx(rising[gone:].sum())
    gaps = np.append(found.least_first - found.most_first, 0)
    assert found.area == pytest.approx(((gaps[1:] + gaps[:-1]) / 2).sum() / FRACTIONS)


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.integers(1, 70))
def test_no_map_is_more_faithful_than_the_truth(seed: int, tiles: int) -> None:
    rng = np.random.default_rng(seed)
    worth, other = rng.normal(size=(2, tiles))
    scorer = Sum(worth)
    best = flip(scorer, worth).area
    assert best >= flip(scorer, other).area - 1e-9
    assert flip(scorer, -worth).area == pytest.approx(-best)
    assert min(scorer.asked) >= 1


def test_chance_is_about_nothing_and_the_truth_far_above() -> None:
    worth = np.random.default_rng(1).normal(size=400)
    found = flip(Sum(worth), worth)
    assert abs(found.random_area) < 3 * found.random_sd
    assert found.area > found.random_area + 5 * found.random_sd
    assert found.random_first[0] == pytest.approx(worth.sum())
    assert ((found.most_first <= found.random_first + 1e-9) & (found.random_first <= found.least_first + 1e-9)).all()


def test_the_figure_is_the_same_each_time_and_goes_into_json() -> None:
    worth = np.random.default_rng(2).normal(size=33)
    one, two = (flip(Sum(worth), worth).to_json() for _ in range(2))
    assert one == two
    assert isinstance(one["most_first"], list)
