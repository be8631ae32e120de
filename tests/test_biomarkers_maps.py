"""Colours, scales, maps and numbers, as pure functions."""

from __future__ import annotations

import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from biomarkers.report.colours import CLASS_COLOURS, DIVERGING, SEQUENTIAL, ramp, rgb
from biomarkers.report.evidence import ends
from biomarkers.report.maps import View, class_map, heat_map, heat_scale, scale_bar, tile_index
from biomarkers.report.page import number
from biomarkers.report.png import png
from foundation import TISSUES
from slides import Mpp, Region, Size
from tiling import TileGrid, TileSpec


@given(
    mpp0=st.tuples(st.floats(0.2, 0.5), st.floats(0.2, 0.5)),
    origin=st.tuples(st.integers(0, 500), st.integers(0, 500)),
    shape=st.tuples(st.integers(20, 90), st.integers(20, 90)),
    seed=st.integers(0, 999),
)
def test_maps_agree_with_level_0_to_half_a_pixel(
    mpp0: tuple[float, float], origin: tuple[int, int], shape: tuple[int, int], seed: int
) -> None:
    keep = np.random.default_rng(seed).random((5, 6)) < 0.5
    keep[2, 3] = True
    cells = np.argwhere(keep).astype(np.int32)
    ones = np.ones(len(cells), np.float32)
    grid = TileGrid(TileSpec(0.5), Mpp(*mpp0), origin, (5, 6), cells, ones, np.full(len(cells), -1, np.int64))
    size = Size(origin[0] + round(6 * grid.step[0]), origin[1] + round(5 * grid.step[1]))
    index = tile_index(grid, View(Region.whole(size), shape))
    pixel_x, pixel_y = size.width / shape[1], size.height / shape[0]
    for number_, (row, col) in enumerate(cells):
        ys, xs = np.nonzero(index == number_)
        left, top = origin[0] + col * grid.step[0], origin[1] + row * grid.step[1]
        drawn = (xs.min() * pixel_x, (xs.max() + 1) * pixel_x, ys.min() * pixel_y, (ys.max() + 1) * pixel_y)
        true = (left, left + grid.extent[0], top, top + grid.extent[1])
        slack = (pixel_x / 2,) * 2 + (pixel_y / 2,) * 2
        assert all(abs(a - b) <= s + 1e-6 for a, b, s in zip(drawn, true, slack, strict=True))


def test_ends_never_overlap() -> None:
    for count in range(30):
        top, bottom = ends(np.arange(count, dtype=np.float64))
        assert not set(top.tolist()) & set(bottom.tolist())
        assert len(top) == len(bottom) == min(10, count // 2)


def test_scales_are_round_and_even_around_zero() -> None:
    assert heat_scale(np.array([0.0, 0.17]), "x", diverging=False).ticks() == [0.0, 0.1, 0.2]
    assert heat_scale(np.array([0.99]), "x", diverging=False).high == 1.0
    diverging = heat_scale(np.array([-0.3, 0.1]), "x", diverging=True)
    assert -diverging.low == diverging.high == pytest.approx(0.298)
    assert heat_scale(np.zeros(4), "x", diverging=True).high == 1.0


def test_ramps_start_and_end_at_their_stops() -> None:
    for stops in (SEQUENTIAL, DIVERGING):
        assert [tuple(c) for c in ramp(np.array([-9.0, 0.0, 1.0, 9.0]), stops, 0, 1)] == [
            rgb(stops[0]), rgb(stops[0]), rgb(stops[-1]), rgb(stops[-1])
        ]  # fmt: skip
    light = ramp(np.linspace(0, 1, 50), SEQUENTIAL, 0, 1).astype(float) @ (0.3, 0.6, 0.1)
    assert (np.diff(light) < 0).all(), "lightness falls all the way, so that grey print keeps the order"


@given(width=st.floats(0.01, 200))
def test_scale_bars_are_round_and_fit(width: float) -> None:
    length = scale_bar(width)
    assert width / 10.01 <= length <= width / 3.99
    assert float(f"{length:.0e}") == pytest.approx(length)


def test_numbers_for_people() -> None:
    assert [number(value) for value in (None, 0.0, 0.123456, -12.3456, 12345.6)] == [
        "–",
        "0",
        "0.123",
        "−12.3",
        "12,346",
    ]


def chunks_of(data: bytes) -> dict[bytes, bytes]:
    found, at = {}, 8
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert int.from_bytes(data[at + 8 + length : at + 12 + length], "big") == zlib.crc32(kind + body)
        found[kind + body.split(b"\0")[0] if kind == b"tEXt" else kind] = body
        at += 12 + length
    return found


def test_a_png_carries_its_notice_and_its_pixels() -> None:
    image: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, (5, 7, 4), dtype=np.uint8)
    data = png(image, {"Notice": "Research use only", "Scale": "0 to 1"})
    assert chunks_of(data)[b"tEXtNotice"] == b"Notice\0Research use only"
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert decoded is not None
    assert (cv2.cvtColor(decoded, cv2.COLOR_BGRA2RGBA) == image).all()


def test_map_functions_leave_glass_transparent() -> None:
    index = np.array([[0, -1], [1, 1]])
    scale = heat_scale(np.array([0.0, 1.0]), "x", diverging=False)
    assert heat_map(index, np.array([0.0, 1.0]), scale)[0, 1].tolist() == [0, 0, 0, 0]
    assert class_map(index, np.eye(12)[:2], TISSUES)[1, 0].tolist() == [*rgb(CLASS_COLOURS["haemorrhage"]), 255]
    assert set(CLASS_COLOURS) == set(TISSUES)
    assert len(set(CLASS_COLOURS.values())) == 12
