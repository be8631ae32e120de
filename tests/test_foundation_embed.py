"""The embedding stage: whole or absent, the same bits on any number of threads, and no tile fed that was not meant."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from foundation import (
    BadFeaturesError,
    ContractError,
    Embeddings,
    EmbeddingsError,
    EmbedOptions,
    Encoder,
    EncoderSpec,
    embed,
    list_encoders,
    load_encoder,
)
from foundation.features import BATCH
from slides import Address
from slides.testing import write_slide
from tiling import TileSpec, TileStore, tile, verify_manifest

SPEC = replace(list_encoders()[0], key="colour", dim=6, px=64, mpp=(1.0, 2.0))


@dataclass(frozen=True)
class Colour:
    """A small real encoder: mean and spread of each colour."""

    spec: EncoderSpec = SPEC
    weights_digest: str = "0" * 64
    calls: list[int] = field(default_factory=list)

    @property
    def preprocessing_digest(self) -> str:
        return self.spec.preprocessing_digest

    def encode(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.calls.append(len(tiles))
        return np.concatenate([tiles.mean(axis=(1, 2)), tiles.std(axis=(1, 2))], axis=1).astype(np.float32)


@dataclass(frozen=True)
class Broken(Colour):
    """Gives the features it is told to give."""

    row: tuple[float, ...] = ()

    def encode(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.tile(np.array(self.row, np.float32), (len(tiles), 1))


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Address:
    return Address.of(write_slide(tmp_path_factory.mktemp("slide") / "drawn.svs", size=(1200, 900), seed=3))


@pytest.fixture(scope="session")
def store(address: Address, tmp_path_factory: pytest.TempPathFactory) -> TileStore:
    specs = [TileSpec(1.0, px=64), TileSpec(2.0, px=64)]
    return tile(address, specs, tmp_path_factory.mktemp("tiles"))


def test_every_tile_of_every_zoom_is_embedded(store: TileStore, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    encoder = Colour()
    made = embed(store, encoder, tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert made.zooms == store.zooms == (1.0, 2.0)
    total = sum(len(store.grid(mpp)) for mpp in store.zooms)
    assert seen[-1] == (total, total)
    assert set(encoder.calls) == {BATCH}
    for mpp in made.zooms:
        grid = store.grid(mpp)
        assert np.array_equal(made.coords(mpp), grid.coords)
        assert np.array_equal(made.parent(mpp), grid.parent)
        assert np.array_equal(made.tissue(mpp), grid.tissue)
        assert made.extent(mpp) == grid.extent == (64 * mpp / 0.5,) * 2
        assert made.tile_area_mm2(mpp) == pytest.approx((0.064 * mpp) ** 2)
        expected = np.zeros((len(grid), 6), np.float16)
        for index, tiles in store.batches(mpp, 7):
            expected[index] = Colour().encode(tiles)
        assert np.array_equal(made.features(mpp), expected)
    assert made.features(1.0).dtype == np.float16
    assert not verify_manifest(made.path)


def test_where_tiles_overlap_grid_and_embeddings_count_the_same_area_once(address: Address, tmp_path: Path) -> None:
    store = tile(address, [TileSpec(1.0, px=64, overlap=16)], tmp_path)
    made = embed(store, Colour(), tmp_path)
    assert made.tile_area_mm2(1.0) == pytest.approx(0.048**2)
    assert made.tile_area_mm2(1.0) == pytest.approx(store.grid(1.0).tile_area_mm2)


def test_the_store_says_what_made_it(store: TileStore, tmp_path: Path) -> None:
    made = Embeddings.open(embed(store, Colour(), tmp_path).path)
    assert made.encoder["key"] == "colour"
    assert (made.encoder["weights_digest"], len(made.encoder["preprocessing_digest"])) == ("0" * 64, 64)
    assert made.tiles_fingerprint == store.fingerprint
    assert made.slide["content_hash"] == store.info.content_hash
    assert made.provenance == {"tiles": store.provenance, "overridden": []}
    assert made.path.name == f"{made.fingerprint}.embeddings.zarr"


def test_a_result_that_is_there_is_not_computed_again(store: TileStore, tmp_path: Path) -> None:
    first, second = Colour(), Colour()
    assert embed(store, first, tmp_path).fingerprint == embed(store, second, tmp_path).fingerprint
    assert first.calls
    assert not second.calls


def test_the_name_follows_from_everything_that_matters(store: TileStore, tmp_path: Path) -> None:
    encoders = [
        Colour(),
        Colour(weights_digest="1" * 64),
        Colour(spec=replace(SPEC, mean=(0.4, 0.5, 0.5))),
        Colour(spec=replace(SPEC, key="other")),
        Colour(spec=replace(SPEC, pooling="mean")),
        Colour(spec=replace(SPEC, kwargs={"init_values": 1.0})),
    ]
    names = [embed(store, encoder, tmp_path).fingerprint for encoder in encoders]
    names.append(embed(store, Colour(), tmp_path, zooms=[2.0]).fingerprint)
    assert len(set(names)) == 7
    assert len(list(tmp_path.iterdir())) == 7
    words = Colour(spec=replace(SPEC, licence="another", weights_sha256="0" * 64, note="of no matter to a feature"))
    assert embed(store, words, tmp_path).fingerprint == names[0]


def test_the_bits_do_not_depend_on_the_threads(address: Address, tmp_path: Path) -> None:
    tiles = tile(address, [TileSpec(1.0)], tmp_path)
    encoder = load_encoder("builtin")
    one, two = (embed(tiles, encoder, tmp_path / str(n), options=EmbedOptions(threads=n)) for n in (1, 2))
    assert np.array_equal(one.features(1.0), two.features(1.0))
    assert one.fingerprint == two.fingerprint
    assert one.features(1.0).shape == (len(tiles.grid(1.0)), 1280)


def test_tiles_that_were_not_kept_are_cut_again(address: Address, tmp_path: Path) -> None:
    raw, none = (tile(address, [TileSpec(1.0, px=64)], tmp_path, keep=keep) for keep in ("raw", "no"))
    kept = embed(raw, Colour(), tmp_path)
    again = embed(none, Colour(), tmp_path, address=address)
    assert np.array_equal(kept.features(1.0), again.features(1.0))


def test_another_scale_or_size_is_refused_unless_overridden(address: Address, tmp_path: Path) -> None:
    tiles = tile(address, [TileSpec(1.5, px=96)], tmp_path)
    with pytest.raises(ContractError, match=r"meant for 1, 2 um/px, not 1\.5; .* 64 px, not 96"):
        embed(tiles, Colour(), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    made = embed(tiles, Colour(), tmp_path / "out", options=EmbedOptions(override=True))
    assert len(made.provenance["overridden"]) == 2
    assert made.features(1.5).shape == (len(tiles.grid(1.5)), 6)


def test_an_encoder_that_states_no_scale_takes_any(address: Address, tmp_path: Path) -> None:
    tiles = tile(address, [TileSpec(1.5, px=64)], tmp_path)
    assert embed(tiles, Colour(spec=replace(SPEC, mpp=())), tmp_path).zooms == (1.5,)


@pytest.mark.parametrize(
    "row",
    [(np.nan,) * 6, (1, 2, 3, 4, 5, np.inf), (0,) * 6, (3,) * 6, (1, 2, 3, 4, 5, 1e6), (1, 2, 3, 4, 5, 6)],
    ids=["nan", "infinite", "zero", "constant", "too large for float16", "the same for all"],
)
def test_features_that_say_nothing_are_refused(row: tuple[float, ...], store: TileStore, tmp_path: Path) -> None:
    with pytest.raises(BadFeaturesError):
        embed(store, Broken(row=row), tmp_path / "out")
    assert not list((tmp_path / "out").glob("*"))


def test_a_damaged_chunk_is_an_error_not_another_number(store: TileStore, tmp_path: Path) -> None:
    made = embed(store, Colour(), tmp_path)
    chunk = made.path / "zooms/1/features/c/0/0"
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 1
    chunk.write_bytes(data)
    assert verify_manifest(made.path) == ["zooms/1/features/c/0/0"]
    with pytest.raises(EmbeddingsError, match="damaged: features at 1 um/px"):
        Embeddings.open(made.path).features(1.0)
    chunk.unlink()
    with pytest.raises(EmbeddingsError, match="whole"):
        Embeddings.open(made.path)
    assert np.isfinite(embed(store, Colour(), tmp_path).features(1.0)).all()  # made anew


def test_other_stores_and_zooms_are_refused(store: TileStore, tmp_path: Path) -> None:
    with pytest.raises(EmbeddingsError, match="does not hold embeddings"):
        Embeddings.open(store.path)
    with pytest.raises(EmbeddingsError, match="whole"):
        Embeddings.open(tmp_path)
    with pytest.raises(EmbeddingsError, match=r"hold the zooms 2 um/px, not 0\.5"):
        embed(store, Colour(), tmp_path, zooms=[2.0]).coords(0.5)
    with pytest.raises(ContractError, match="at least one zoom"):
        embed(store, Colour(), tmp_path, zooms=[])


def test_the_protocol_is_the_whole_contract() -> None:
    assert isinstance(Colour(), Encoder)
