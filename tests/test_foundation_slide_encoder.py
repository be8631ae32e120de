"""Slide encoders take only the features they were made for; the baselines without weights compute what they say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation import (
    BadFeaturesError,
    ContractError,
    Embeddings,
    UnknownEncoderError,
    UnsupportedEncoderError,
    load_encoder,
)
from foundation.access import Access
from foundation.registry import list_encoders, list_slide_encoders
from foundation.slide_encoder import PooledSlides, SlideEncoder, encode_slide, load_slide_encoder, require_fit
from foundation.testing import write_embeddings

BASELINES = ("mean", "max", "meanmax", "meanstd")
SPECS = {spec.key: spec for spec in list_slide_encoders()}
TILES = {spec.key: spec for spec in list_encoders()}
ROWS = np.random.default_rng(0).normal(size=(7, 2560)).astype(np.float16)


def made_by(row: str, **other: Any) -> dict[str, Any]:  # noqa: ANN401 - values of a JSON document
    spec = TILES[row]
    digests = {"weights_digest": spec.weights_sha256, "preprocessing_digest": spec.preprocessing_digest}
    return spec.to_json() | digests | other


def embeddings(folder: Path, encoder: dict[str, Any], mpp: float = 0.5) -> Embeddings:
    return write_embeddings(folder, {mpp: ROWS[:, : encoder["dim"]]}, encoder)


def places(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.zeros((count, 2))


@pytest.mark.parametrize("key", BASELINES)
def test_a_baseline_is_a_slide_encoder(key: str) -> None:
    encoder = load_slide_encoder(key)
    assert isinstance(encoder, SlideEncoder)
    vector = encoder.encode(ROWS, places(7), 112.0)
    assert vector.dtype == np.float32
    assert vector.ndim == 1
    assert np.array_equal(vector, encoder.encode(ROWS, places(7), 112.0))


def test_baselines_compute_what_they_say() -> None:
    rows = np.array([[1.0, 5.0], [3.0, 1.0]])
    expected = {"mean": [2, 3], "max": [3, 5], "meanmax": [2, 3, 3, 5], "meanstd": [2, 3, 1, 2]}
    found = {key: load_slide_encoder(key).encode(rows, places(2), 112.0).tolist() for key in BASELINES}
    assert found == expected


@given(st.permutations(range(7)), st.sampled_from(BASELINES))
def test_the_order_of_tiles_does_not_matter(order: list[int], key: str) -> None:
    encoder = load_slide_encoder(key)
    shuffled = encoder.encode(ROWS[order], places(7), 112.0)
    assert np.allclose(shuffled, encoder.encode(ROWS, places(7), 112.0), atol=1e-6)


@pytest.mark.parametrize("rows", [np.zeros((0, 4)), np.full((2, 4), np.nan), np.full((2, 4), np.inf)])
def test_unusable_features_are_refused(rows: np.ndarray[Any, Any]) -> None:
    with pytest.raises(BadFeaturesError):
        load_slide_encoder("mean").encode(rows, places(len(rows)), 112.0)


@pytest.mark.parametrize(("shape", "where", "tile"), [((4,), 4, 112.0), ((3, 4), 2, 112.0), ((3, 4), 3, 0.0)])
def test_places_belong_to_features(shape: tuple[int, ...], where: int, tile: float) -> None:
    with pytest.raises(ContractError):
        load_slide_encoder("max").encode(np.ones(shape), places(where), tile)


def test_baselines_take_anything_and_places_arrive_in_micrometres(tmp_path: Path) -> None:
    store = embeddings(tmp_path, made_by("virchow"), mpp=0.7)
    seen: dict[str, Any] = {}

    class Listening:
        spec = SPECS["mean"]

        def encode(
            self, features: np.ndarray[Any, Any], coords_um: np.ndarray[Any, Any], tile_um: float
        ) -> np.ndarray[Any, np.dtype[np.float32]]:
            seen.update(features=features, coords=coords_um, tile=tile_um)
            return np.zeros(1, np.float32)

    encode_slide(Listening(), store, 0.7)
    assert seen["features"].shape == (7, 2560)
    assert np.allclose(seen["coords"], store.coords(0.7) * 0.25)
    assert seen["tile"] == pytest.approx(224 * 0.7)
    assert np.allclose(encode_slide(load_slide_encoder("mean"), store, 0.7), ROWS.mean(axis=0, dtype=float), atol=1e-3)


def test_the_features_it_was_made_for_are_taken(tmp_path: Path) -> None:
    require_fit(SPECS["prism"], embeddings(tmp_path, made_by("virchow")), 0.5)
    require_fit(SPECS["prism2"], embeddings(tmp_path / "2", made_by("virchow2")), 0.5)


@pytest.mark.parametrize(
    ("other", "mpp", "why"),
    [
        ({"key": "virchow2"}, 0.5, "of virchow, not of virchow2"),
        ({"key": "builtin"}, 0.5, "not of builtin"),
        ({"weights_digest": "0" * 64}, 0.5, "virchow made them with other weights"),
        ({"preprocessing_digest": "0" * 64}, 0.5, "another preprocessing"),
        ({"pooling": "cls"}, 0.5, "another pooling"),
        ({"dim": 1280}, 0.5, "the dim of its tile encoder is 2560, not 1280"),
        ({"px": 256}, 0.5, "the px of its tile encoder"),
        ({}, 1.0, "at 0.5 um/px, not 1"),
    ],
)
def test_other_features_are_refused(tmp_path: Path, other: dict[str, Any], mpp: float, why: str) -> None:
    store = embeddings(tmp_path, made_by("virchow", **other), mpp)
    with pytest.raises(ContractError, match=why):
        require_fit(SPECS["prism"], store, mpp)


def test_tiles_of_another_size_are_refused(tmp_path: Path) -> None:
    store = embeddings(tmp_path, made_by("virchow"))
    with pytest.raises(ContractError, match="tiles of 256 px, not 224"):
        require_fit(replace(SPECS["prism"], tile_px=256), store, 0.5)


def test_what_is_fed_is_what_it_uses(tmp_path: Path) -> None:
    spec = replace(SPECS["prism2"], family="pool")
    store = embeddings(tmp_path, made_by("virchow2"))
    pooled = PooledSlides(spec, lambda rows: rows.mean(axis=0))
    assert encode_slide(pooled, store, 0.5).shape == (1280,)


def test_the_table_agrees_with_itself() -> None:
    for spec in SPECS.values():
        for row in (TILES[key] for key in spec.tile_encoders):
            assert spec.px in {0, row.px}, spec.key
            assert spec.tile_dim in {0, row.dim}, spec.key
            if spec.tile_dim:  # COBRA alone takes several, beyond what their authors feed them
                assert spec.tile_px == row.tile_px, spec.key
                assert set(spec.mpp) <= set(row.mpp), spec.key


def test_what_cannot_run_says_why_and_an_unknown_name_the_nearest() -> None:
    for key in ("titan", "cobra", "chief"):
        with pytest.raises(UnsupportedEncoderError, match=key):
            load_slide_encoder(key, Access())
    with pytest.raises(UnknownEncoderError, match="titan"):
        load_slide_encoder("titen")
    with pytest.raises(UnknownEncoderError, match="encodes slides"):
        load_encoder("titan")
