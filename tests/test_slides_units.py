"""Scales and places: arithmetic, and what is refused."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slides import BadMppError, Mpp, Region, RegionError, Size

scales = st.floats(0.01, 100, allow_nan=False)
places = st.integers(-(10**6), 10**6)
sides = st.integers(1, 10**6)
regions = st.builds(Region, places, places, sides, sides)


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, 1e9, 1e-9])
def test_an_impossible_scale_is_refused(value: float) -> None:
    with pytest.raises(BadMppError):
        Mpp.square(value)


@given(scales, scales)
def test_ratios_of_scales_are_inverse(a: float, b: float) -> None:
    there, back = Mpp.square(a).ratio(Mpp.square(b)), Mpp.square(b).ratio(Mpp.square(a))
    assert there[0] * back[0] == pytest.approx(1)


@pytest.mark.parametrize("size", [(0, 1), (1, 0), (-5, 5)])
def test_empty_sizes_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(RegionError):
        Size(*size)
    with pytest.raises(RegionError):
        Region(0, 0, *size)


@given(regions, regions)
def test_the_common_part_lies_in_both(a: Region, b: Region) -> None:
    common = a.clipped(b)
    assert common == b.clipped(a)
    if common is None:
        assert a.right <= b.x or b.right <= a.x or a.bottom <= b.y or b.bottom <= a.y
    else:
        assert common.clipped(a) == common
        assert common.clipped(b) == common
