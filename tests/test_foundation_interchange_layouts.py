"""What is written is what other tools read, as readers tell that stand here and know nothing of ours."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from foundation import Embeddings, embed, list_encoders
from foundation.errors import InterchangeError
from foundation.interchange import READERS, WRITERS, ImportOptions, export_features, import_features
from foundation.interchange import extra as extras
from foundation.interchange.tiles import Tiles, tiles_of
from slides import Mpp
from slides.testing import write_slide
from tiling import TileSpec, tile

CANARY = "DOE_JOHN_19570312"
SPEC = replace(list_encoders()[0], key="colour", dim=6, px=64, mpp=(1.0, 2.0))
Oracle = Callable[[Path, str], "tuple[NDArray[Any], NDArray[Any]]"]


class Colour:
    """A small real encoder: mean and spread of each colour."""

    spec = SPEC
    weights_digest = "0" * 64
    preprocessing_digest = SPEC.preprocessing_digest

    def encode(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.concatenate([tiles.mean(axis=(1, 2)), tiles.std(axis=(1, 2))], axis=1).astype(np.float32)


@pytest.fixture(scope="session")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Embeddings:
    """A drawn slide of 0.25 um/px, tiles of 64 px at 1 and 2 um/px that share 16."""
    folder = tmp_path_factory.mktemp("interchange")
    path = write_slide(folder / f"{CANARY}.svs", size=(2400, 1800), seed=3, mpp=0.25)
    store = tile(path, [TileSpec(1.0, px=64, overlap=16), TileSpec(2.0, px=64, overlap=16)], folder)
    return embed(store, Colour(), folder)


@pytest.fixture(scope="session")
def tiles(slide: Embeddings) -> Tiles:
    return tiles_of(slide, 1.0)


# ---- the layouts as the table of other tools has them: each oracle gives features, and places in level-0 pixels


def read_trident(folder: Path, name: str) -> tuple[NDArray[Any], NDArray[Any]]:
    with h5py.File(folder / f"{name}.h5") as file:
        features, coords, about = file["features"][:], file["coords"][:], dict(file["coords"].attrs)
        assert set(file) == {"features", "coords"}
        assert (features.dtype, coords.dtype) == (np.float32, np.int64)
        assert file["features"].attrs["encoder"] == "colour"
        assert {file[key].attrs["name"] for key in file} == {name}
        assert {file[key].attrs["savetodir"] for key in file} == {"None"}
    with h5py.File(folder / "patches" / f"{name}_patches.h5") as file:
        assert set(file) == {"coords"}
        assert file["coords"].dtype == np.int64
        assert np.array_equal(file["coords"][:], coords)
        assert dict(file["coords"].attrs) == about
    numbers = ("patch_size", "patch_size_level0", "level0_magnification", "target_magnification", "overlap")
    assert [about.pop(key) for key in numbers] == [64, 256, 40, 10, 16]
    assert [about.pop(key) for key in ("level0_width", "level0_height")] == [2400, 1800]
    assert set(about) == {"name", "savetodir"}
    return features, coords


def read_clam(folder: Path, name: str) -> tuple[NDArray[Any], NDArray[Any]]:
    with h5py.File(folder / "h5_files" / f"{name}.h5") as file:
        features, coords = file["features"][:], file["coords"][:]
        assert (features.dtype, coords.dtype) == (np.float32, np.int32)
    bare = torch.load(folder / "pt_files" / f"{name}.pt", weights_only=True)
    assert isinstance(bare, torch.Tensor)
    assert bare.dtype == torch.float32
    assert np.array_equal(bare.numpy(), features)
    with h5py.File(folder / "patches" / f"{name}.h5") as file:
        about = dict(file["coords"].attrs)
        assert np.array_equal(file["coords"][:], coords)
    assert (about["patch_size"], about["patch_level"], list(about["downsample"])) == (256, 0, [1, 1])
    assert list(about["level_dim"]) == list(about["downsampled_level_dim"]) == [2400, 1800]
    assert (about["name"], about["save_path"]) == (name, "None")
    return features, coords


def read_stamp(folder: Path, name: str) -> tuple[NDArray[Any], NDArray[Any]]:
    with h5py.File(folder / f"{name}.h5") as file:
        features, micrometres, about = file["feats"][:], file["coords"][:], dict(file.attrs)
        assert set(file) == {"feats", "coords"}
    assert (features.dtype, micrometres.dtype) == (np.float16, np.float32)
    assert tuple(int(part) for part in about["stamp_version"].split(".")) <= (2, 5, 0)
    assert (about["extractor"], about["unit"], about["feat_type"]) == ("colour", "um", "tile")
    assert (about["tile_size_um"], about["tile_size_px"], len(about["code_hash"])) == (64.0, 64, 8)
    return features, np.rint(micrometres / 0.25).astype(np.int64)


def read_anndata(folder: Path, name: str) -> tuple[NDArray[Any], NDArray[Any]]:
    anndata = pytest.importorskip("anndata")
    found = anndata.read_h5ad(folder / f"{name}.h5ad")
    assert found.X.dtype == np.float32
    assert list(found.obs["tile_id"]) == list(range(found.n_obs))
    assert set(found.obs["library_id"]) == {name}
    assert np.array_equal(found.obs[["x", "y"]].to_numpy(), found.obsm["spatial"])
    assert found.obs["tissue"].between(0, 1).all()
    return found.X, found.obsm["spatial"]


ORACLES: Mapping[str, Oracle] = {
    "trident": read_trident,
    "clam": read_clam,
    "stamp": read_stamp,
    "anndata": read_anndata,
}
each = pytest.mark.parametrize("layout", ORACLES)


@each
def test_other_tools_read_what_is_written(layout: str, slide: Embeddings, tiles: Tiles, tmp_path: Path) -> None:
    files = export_features(slide, layout, tmp_path, mpp=1.0)
    features, coords = ORACLES[layout](tmp_path, tiles.name)
    assert np.array_equal(features.astype(np.float16), slide.features(1.0))
    assert np.array_equal(features.astype(np.float64), slide.features(1.0).astype(np.float64))
    assert np.array_equal(coords, slide.coords(1.0))
    assert sorted(files) == sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert not [
        path for path in files if CANARY in str(path.relative_to(tmp_path)) or CANARY.encode() in path.read_bytes()
    ]
    assert all(b"Research use only" in path.read_bytes() for path in files if path.suffix != ".pt")


@each
def test_a_slide_comes_back_bit_for_bit(layout: str, slide: Embeddings, tmp_path: Path) -> None:
    files = export_features(slide, layout, tmp_path, mpp=1.0)
    back = import_features(files[-1], layout, tmp_path / "back")
    assert back.zooms == (1.0,)
    assert back.features(1.0).tobytes() == slide.features(1.0).tobytes()
    assert back.coords(1.0).tobytes() == slide.coords(1.0).tobytes()
    assert back.extent(1.0) == slide.extent(1.0)
    assert back.tile_area_mm2(1.0) == slide.tile_area_mm2(1.0)
    assert (back.slide["size"], back.slide["mpp"]) == (slide.slide["size"], slide.slide["mpp"])
    assert back.encoder["key"] == "colour"
    again = export_features(back, layout, tmp_path / "again", name=tiles_of(slide, 1.0).name)
    assert again[-1].relative_to(tmp_path / "again") == files[-1].relative_to(tmp_path)


@each
def test_the_same_slide_is_written_twice_and_another_is_refused(layout: str, slide: Embeddings, tmp_path: Path) -> None:
    def state() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    export_features(slide, layout, tmp_path, mpp=1.0)
    before = state()
    export_features(slide, layout, tmp_path, mpp=1.0)
    with pytest.raises(InterchangeError, match="Another file of that name"):
        export_features(slide, layout, tmp_path, mpp=2.0)
    assert state() == before


@each
def test_nothing_is_left_of_a_file_that_cannot_be_written(
    layout: str, tiles: Tiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("foundation.interchange.placing.sync", full)
    with pytest.raises(Exception, match="disk is full"):
        WRITERS[layout](tiles, tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("layout", ["trident", "clam", "stamp"])
@given(data=st.data())
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
def test_any_numbers_come_back(
    layout: str, data: st.DataObject, tiles: Tiles, tmp_path_factory: pytest.TempPathFactory
) -> None:
    count, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 9))
    finite = st.integers(0, 0x7BFF) | st.integers(0x8000, 0xFBFF)  # all of them, as bits: zeros and subnormals too
    features = data.draw(arrays(np.uint16, (count, width), elements=finite)).view(np.float16)
    coords = data.draw(arrays(np.int64, (count, 2), elements=st.integers(0, 3_000_000)))
    info = replace(tiles.info, mpp=Mpp(*data.draw(st.tuples(*[st.floats(0.1, 1)] * 2))))
    given_tiles = replace(tiles, info=info, features=features, coords=coords, tissue=np.ones(count, np.float32))
    out = tmp_path_factory.mktemp("any")
    path = WRITERS[layout](given_tiles, out)[-1]
    with h5py.File(path) as file:
        found = READERS[layout](file, None)
    assert found.features.astype(np.float16).tobytes() == features.tobytes()
    assert found.coords.tobytes() == coords.tobytes()
    assert not found.rounded
    assert found.stated.mpp0 == (info.require_mpp().x, info.require_mpp().y)


def test_places_that_a_layout_cannot_hold_are_refused(tiles: Tiles, tmp_path: Path) -> None:
    far = replace(tiles, coords=tiles.coords + 2**31)
    with pytest.raises(InterchangeError, match="32 bits"):
        WRITERS["clam"](far, tmp_path)
    with pytest.raises(InterchangeError, match="32 bits of micrometres"):
        WRITERS["stamp"](replace(tiles, coords=tiles.coords + 2**26 + 1), tmp_path)
    assert not list(tmp_path.iterdir())
    WRITERS["trident"](far, tmp_path)


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b", "x" * 65, "ä", "a\n"])
def test_names_that_are_no_file_names_are_refused(name: str, slide: Embeddings, tmp_path: Path) -> None:
    with pytest.raises(InterchangeError, match="name for files"):
        export_features(slide, "trident", tmp_path / "out", mpp=1.0, name=name)
    assert not (tmp_path / "out").exists()


def test_a_zoom_and_a_layout_are_named(slide: Embeddings, tmp_path: Path) -> None:
    with pytest.raises(InterchangeError, match="zooms 1, 2 um/px"):
        export_features(slide, "trident", tmp_path)
    with pytest.raises(InterchangeError, match="known are trident"):
        export_features(slide, "csv", tmp_path, mpp=1.0)
    with pytest.raises(InterchangeError, match="known are trident"):
        import_features(tmp_path, "spatialdata", tmp_path)
    assert export_features(slide, "stamp", tmp_path, mpp=1.0, name="S-01")[0].name == "S-01.h5"


@pytest.mark.parametrize("layout", ["anndata", "spatialdata"])
def test_a_missing_library_is_named(
    layout: str, slide: Embeddings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(extras, "import_module", missing)
    with pytest.raises(InterchangeError, match=rf"extra '{layout}'.*oncoscope\[{layout}\]"):
        export_features(slide, layout, tmp_path, mpp=1.0)
    assert not list(tmp_path.iterdir())


def test_spatialdata_is_read_by_its_own_library(slide: Embeddings, tiles: Tiles, tmp_path: Path) -> None:
    spatialdata = pytest.importorskip("spatialdata", reason="needs the extra spatialdata, in an environment of its own")
    (path,) = export_features(slide, "spatialdata", tmp_path, mpp=1.0)
    found = spatialdata.read_zarr(path)
    assert (set(found.shapes), set(found.tables)) == ({"tiles"}, {"colour_tiles"})
    shapes, table = found.shapes["tiles"], found.tables["colour_tiles"]
    assert np.array_equal(table.X, tiles.features.astype(np.float32))
    assert set(table.obs["library_id"]) == {"tiles"}
    assert list(table.obs["tile_id"]) == list(shapes["tile_id"]) == list(range(len(tiles.coords)))
    assert set(shapes.columns) == {"tile_id", "x", "y", "tissue_id", "geometry"}
    assert np.array_equal(shapes[["x", "y"]].to_numpy(), tiles.coords)
    assert np.array_equal(shapes.bounds.to_numpy(), np.hstack([tiles.coords, tiles.coords + 256]))
    spec = found.attrs["tile_spec"]["tiles"]
    assert (spec["height"], spec["stride_width"], spec["mpp"], spec["ops_downsample"]) == (64, 48, 1.0, 4.0)
    assert found.attrs["slide_properties"]["shape"] == [1800, 2400]
    assert json.loads((path / "zarr.json").read_text())["zarr_format"] == 3
    with pytest.raises(InterchangeError, match="already"):
        export_features(slide, "spatialdata", tmp_path, mpp=2.0)
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


def test_the_caller_wins_over_the_file(slide: Embeddings, tmp_path: Path) -> None:
    path = export_features(slide, "trident", tmp_path, mpp=1.0)[-1]
    told = ImportOptions(encoder="other", mpp0=Mpp.square(0.5))
    back = import_features(path, "trident", tmp_path, told)
    assert back.zooms == (2.0,)  # 256 level-0 pixels of 0.5 um are 64 of 2 um
    assert back.extent(2.0) == (256, 256)
    assert back.encoder["key"] == "other"


def test_a_scale_stays_what_it_is_where_level_0_does_not_divide_it(tiles: Tiles, tmp_path: Path) -> None:
    mpp0 = Mpp.square(0.2527)
    odd = replace(tiles, info=replace(tiles.info, mpp=mpp0), extent=(64 / 0.2527, 64 / 0.2527))
    back = import_features(WRITERS["trident"](odd, tmp_path)[-1], "trident", tmp_path)
    assert (back.zooms, back.extent(1.0)) == ((1.0,), odd.extent)  # not 253 whole pixels, which would be 0.999 um/px
