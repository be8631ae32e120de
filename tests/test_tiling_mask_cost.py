"""What a mask from outside may cost: memory is bounded, and one document has one budget, however it is divided."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from slides import Mpp, Region, Size, SlideInfo
from tiling import MaskError
from tiling.crossing import Work, crosses
from tiling.mask_geojson import MOST_BYTES, mask_from_geojson, read_mask
from tiling.outline import fill


def info_of(side: int) -> SlideInfo:
    size = Size(side, side)
    return SlideInfo(
        size, Mpp.square(0.25), "header", "f", "r", "", (), Region.whole(size), None, content_hash="0" * 64
    )


def document(*rings: NDArray[np.float64]) -> dict[str, Any]:
    polygons = [[[*ring.tolist(), ring[0].tolist()]] for ring in rings]
    geometry = {"type": "MultiPolygon", "coordinates": polygons}
    return {"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": geometry, "properties": None}]}


@given(
    corners=st.lists(st.tuples(st.floats(-3, 23), st.floats(-3, 23)), min_size=3, max_size=12),
    at_once=st.integers(1, 300),
)
def test_filling_in_strips_changes_nothing(corners: list[tuple[float, float]], at_once: int) -> None:
    ring = np.array(corners)
    whole = fill([ring], (20, 19))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tiling.outline.AT_ONCE", at_once)
        assert np.array_equal(fill([ring], (20, 19)), whole)


def zigzag(teeth: int, side: float) -> NDArray[np.float64]:
    """A comb of two corners a tooth, each edge as high as the mask; simple, and all of its edges cross all rows."""
    x = np.linspace(1, side - 10, 2 * teeth)
    ring = np.stack([x, np.where(np.arange(2 * teeth) % 2, side - 2, 2)], axis=1)
    return np.concatenate([ring, [[side - 2, side - 1], [0, side - 0.5]]])


def test_filling_takes_bounded_memory() -> None:
    ring = zigzag(500, 4096)  # four million edges times rows
    tracemalloc.start()
    try:
        filled = fill([ring], (4096, 4096))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 0.4 < filled.mean() < 0.6
    assert peak < filled.nbytes + (100 << 20)


def test_many_outlines_share_the_work_of_one_document() -> None:
    side = 2000
    info, comb = info_of(side), zigzag(400, side)
    one = Work()
    assert not crosses([comb], one)
    fill([comb], (side, side), one)
    spent = Work().left - one.left
    assert spent > 800 * 1900  # each edge in each row at least
    feasible = document(comb, comb)
    assert mask_from_geojson(feasible, info, (side, side)).array.any()
    many = int(Work().left / spent) + 1
    with pytest.raises(MaskError, match="too complicated"):
        mask_from_geojson(document(*[comb] * many), info, (side, side))
    with pytest.raises(MaskError, match="too complicated"):
        fill([zigzag(5000, 8192)], (8192, 8192))


def test_large_plain_outlines_have_a_price_too() -> None:
    whole = np.array([[0.0, 0.0], [8192, 0], [8192, 8192], [0, 8192]])
    work = Work(2 * 8192**2 / 16 + 4 * 8192)
    for _ in range(2):
        assert fill([whole], (8192, 8192), work).all()
    with pytest.raises(MaskError):
        fill([whole], (8192, 8192), work)


def test_a_file_too_large_is_not_read(tmp_path: Path) -> None:
    assert MOST_BYTES <= 64 << 20
    with (tmp_path / "m.geojson").open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(MaskError, match="too large"):
        read_mask(tmp_path / "m.geojson", info_of(9000), (9, 8))
