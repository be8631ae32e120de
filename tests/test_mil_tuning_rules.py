"""Who wins, who is given up, and TOML as it is written."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mil.errors import ExperimentError
from mil.tuning.choice import Trial, winner_of
from mil.tuning.journal import JOURNAL, journal
from mil.tuning.search import lags
from mil.tuning.toml import write_toml


def trial(number: int, folds: tuple[float, ...], weights: int, state: str = "complete") -> Trial:
    return Trial(number, state, {}, folds, weights, None)


def test_the_smallest_head_within_one_standard_error_wins() -> None:
    best = trial(0, (0.7, 0.8, 0.9), 500)
    near, nearer, far = trial(1, (0.76,) * 3, 100), trial(2, (0.78,) * 3, 100), trial(3, (0.7,) * 3, 10)
    assert winner_of([best, near, nearer, far]) is nearer
    assert winner_of([best, far, trial(4, (0.99,), 1, "pruned")]) is best


def test_what_lags_behind_the_median_is_given_up() -> None:
    others = [[0.6, 0.9], [0.7, 0.5], [0.8, 0.9], [0.95]]
    assert lags([0.65], others, 3)
    assert not lags([0.75], others, 3)
    assert lags([0.75, 0.6], others, 3)  # the mean over two folds, of those who have two
    assert not lags([0.1, 0.1], others, 4)  # too few came as far


VALUES = st.recursive(
    st.text() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=20)
@given(st.dictionaries(st.text(), st.dictionaries(st.text(), VALUES, max_size=3), max_size=3))
def test_toml_that_is_written_reads_back_the_same(tables: dict[str, dict[str, Any]]) -> None:
    assert tomllib.loads(write_toml(tables)) == tables


def test_a_damaged_line_of_the_journal_is_named(tmp_path: Path) -> None:
    (tmp_path / JOURNAL).write_text('{"op_code": 0}\nnot JSON\n{"half')
    with pytest.raises(ExperimentError, match="Line 2 of the journal"), journal(tmp_path):
        pass
