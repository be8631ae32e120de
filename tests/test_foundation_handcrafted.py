"""Handcrafted features mean what their names say, and need neither torch nor weights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from foundation import Encoder, RegistryError, load_encoder
from foundation.encoders.handcrafted import HED, NAMES, features, load
from foundation.testing import EncoderConformance

PX = 128
Image = NDArray[np.uint8]


class TestHandcrafted(EncoderConformance):
    def make(self) -> Encoder:
        return load_encoder("handcrafted")


def column(tile: Image, name: str) -> float:
    return float(features(tile)[NAMES.index(name)])


def stained(haematoxylin: NDArray[np.float64], eosin: NDArray[np.float64]) -> Image:
    """A tile of known densities of both stains."""
    unit = HED / np.linalg.norm(HED, axis=1, keepdims=True)
    density = haematoxylin[..., None] * unit[0] + eosin[..., None] * unit[1]
    return np.asarray(np.round(256 * np.exp(-density) - 1).clip(0, 255), np.uint8)


def cells(count: int, radius: int = 4) -> Image:
    """Round nuclei on pale eosin, in a grid."""
    plane = np.zeros((PX, PX))
    side = int(np.ceil(np.sqrt(count)))
    for number in range(count):
        centre = [int((v + 0.5) * PX / side) for v in divmod(number, side)]
        cv2.circle(plane, centre, radius, (1.0,), -1)
    return stained(np.asarray(cv2.GaussianBlur(plane, (0, 0), 1.0), np.float64), np.full((PX, PX), 0.2))


def test_every_column_has_one_name() -> None:
    assert len(NAMES) == len(set(NAMES)) == len(features(cells(4)))
    assert 64 <= len(NAMES) <= 150


def test_stains_are_told_apart() -> None:
    flat = np.full((PX, PX), 0.6)
    tile = stained(flat, flat / 3)
    assert column(tile, "haematoxylin_mean") == pytest.approx(0.6, abs=0.03)
    assert column(tile, "eosin_mean") == pytest.approx(0.2, abs=0.03)
    assert column(tile, "residual_p50") == pytest.approx(0.0, abs=0.03)


@pytest.mark.parametrize("count", [9, 25])
def test_nuclei_are_counted(count: int) -> None:
    tile = cells(count)
    assert column(tile, "regions_density") * PX * PX / 1e4 == pytest.approx(count)
    assert column(tile, "nuclei_3.2px_density") * PX * PX / 1e4 == pytest.approx(count)


def test_larger_nuclei_have_a_larger_area() -> None:
    assert column(cells(9, 7), "regions_area") > column(cells(9, 4), "regions_area") + 0.5


def test_focus_falls_when_a_tile_is_blurred() -> None:
    tile = cells(16)
    soft = np.asarray(cv2.GaussianBlur(tile, (0, 0), 2.0), np.uint8)
    for name in ("focus", "detail_grey_octave0", "edges_deviation"):
        assert column(soft, name) < column(tile, name), name


def test_fibres_have_an_order_and_cells_have_none() -> None:
    stripes = stained(np.tile(0.5 + 0.4 * np.sin(np.arange(PX) / 3), (PX, 1)), np.zeros((PX, PX)))
    assert column(stripes, "order_whole") > 0.9
    assert column(cells(16), "order_whole") < 0.3


def test_turning_a_tile_changes_little() -> None:
    tile = np.random.default_rng(0).integers(90, 200, (PX, PX, 3), np.uint8)
    tile = np.asarray(cv2.GaussianBlur(tile, (0, 0), 2.0))
    turned = features(np.ascontiguousarray(np.rot90(tile)))
    names = [i for i, n in enumerate(NAMES) if n.startswith(("pattern", "pairs", "residual_mean", "edges_mean"))]
    np.testing.assert_allclose(turned[names], features(tile)[names], rtol=0.02, atol=0.004)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 255]))
def test_any_tile_has_finite_features(seed: int, flat: int) -> None:
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (PX, PX, 3), np.uint8)
    half = np.where(np.arange(PX)[:, None, None] < rng.integers(PX), noise, np.uint8(flat))
    for tile in (half, np.full_like(noise, flat)):
        assert np.isfinite(features(np.asarray(tile, np.uint8))).all()


def test_it_takes_no_weights(tmp_path: Path) -> None:
    encoder = load_encoder("handcrafted")
    with pytest.raises(RegistryError):
        load("handcrafted", tmp_path / "weights", encoder.spec)
    with pytest.raises(RegistryError):
        load("handcrafted", None, None)


def test_torch_is_not_needed() -> None:
    code = (
        "import sys, numpy; from foundation import load_encoder;"
        f"load_encoder('handcrafted').encode(numpy.zeros((1, {PX}, {PX}, 3), 'uint8'));"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
