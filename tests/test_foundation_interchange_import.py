"""What is imported says what is known of it and what is not, and no head of known weights takes it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from foundation import ContractError, Embeddings, FoundationError, TissueHead, ask, list_encoders
from foundation.errors import InterchangeError
from foundation.interchange import ImportOptions, import_features
from foundation.interchange.stored import UNKNOWN
from mil.bag import bag_from_embeddings
from mil.batch import check_same
from mil.errors import MilError
from slides import BadMppError, Mpp
from tools.hostile_features import CANARY, PLACES, ROWS, write


def read(path: Path, **told: Any) -> Embeddings:  # noqa: ANN401 - what the caller knows
    options = replace(ImportOptions(mpp0=Mpp.square(0.5), encoder="theirs"), **told)
    return import_features(path, "trident", path.parent / "out", options)


def refused(path: Path, **told: Any) -> str:  # noqa: ANN401 - what the caller knows
    """The sentence of a file that lacks something; nothing is left of the try."""
    with pytest.raises(FoundationError) as caught:
        read(path, **told)
    assert not list(path.parent.glob("out/*"))
    return str(caught.value)


def test_attributes_of_any_kind_do_no_harm(tmp_path: Path) -> None:
    def odd(file: h5py.File, _folder: Path) -> None:
        about = file["coords"].attrs
        about["overlap"] = np.ones((3, 3))
        about["level0_width"] = "wide"
        about["level0_height"] = np.nan
        about["target_magnification"] = h5py.Empty("f4")
        file.attrs["oncoscope"] = "[" * 60_000
        file["features"].attrs["encoder"] = f"{CANARY} <b>"
        file["features"].attrs["ref"] = file["coords"].ref

    path = write(tmp_path / "x.h5", odd)
    assert read(path).slide["size"] == [1024, 768]
    (tmp_path / "out2").mkdir()
    with pytest.raises(InterchangeError, match="does not say which encoder"):
        import_features(path, "trident", tmp_path / "out2", ImportOptions(mpp0=Mpp.square(0.5)))
    text = "".join(p.read_text(errors="replace") for p in (tmp_path / "out").rglob("*.json"))
    assert CANARY not in text
    assert "theirs" in text


def test_attributes_that_are_arrays_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x.h5", lambda file, _: file["coords"].attrs.update(many=np.ones(4000), one=1))
    read_one, asked = h5py.AttributeManager.__getitem__, []

    def reading(self: h5py.AttributeManager, name: str) -> object:
        asked.append(name)
        return read_one(self, name)

    monkeypatch.setattr(h5py.AttributeManager, "__getitem__", reading)
    read(path)
    assert "one" in asked
    assert "many" not in asked


def test_what_nobody_says_is_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "x.h5")
    assert "(--encoder)" in refused(path, encoder=None)
    assert "(--mpp0)" in refused(path, mpp0=None)
    with h5py.File(path, "a") as file:
        del file["coords"].attrs["patch_size_level0"]
    assert "(--tile)" in refused(path)
    assert "(--mpp)" in refused(path, px=224)
    assert "no tiles of a slide" in refused(path, px=224, mpp=-1.0)
    with pytest.raises(BadMppError):
        Mpp.square(0)
    assert read(path, px=224, mpp=0.5).extent(0.5) == (224, 224)


def test_tiles_outside_the_stated_slide_are_refused(tmp_path: Path) -> None:
    def small(file: h5py.File, _folder: Path) -> None:
        file["coords"].attrs.update(level0_width=700, level0_height=700)

    assert "outside the slide" in refused(write(tmp_path / "x.h5", small))


@pytest.mark.parametrize(("overlap", "good"), [(255, True), (256, False), (100_000, False)])
def test_tiles_overlap_by_less_than_their_side(overlap: int, good: bool, tmp_path: Path) -> None:  # noqa: FBT001
    path = write(tmp_path / "x.h5", lambda file, _: file["coords"].attrs.update(overlap=overlap))
    if good:
        assert read(path).tile_area_mm2(0.5) == pytest.approx(0.0005**2)
    else:
        assert "no tiles of a slide" in refused(path)


def test_an_imported_store_says_what_it_is(tmp_path: Path) -> None:
    made = Embeddings.open(read(write(tmp_path / f"{CANARY}.h5")).path)
    assert (made.encoder["key"], made.encoder["weights_digest"]) == ("theirs", UNKNOWN)
    imported = made.provenance["imported"]
    assert (imported["layout"], imported["features_dtype"]) == ("trident", "float32")
    assert {"weights_digest", "preprocessing_digest", "tissue", "content_hash", "size"} <= set(imported["unknown"])
    assert "not seen" in made.slide["warnings"][0]
    assert np.isnan(made.tissue(0.5)).all()
    assert read(tmp_path / f"{CANARY}.h5").path == made.path
    assert not [path for path in made.path.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]


def test_a_known_encoder_is_held_to_its_width_and_scale(tmp_path: Path) -> None:
    spec = list_encoders()[0]
    assert f"{spec.dim} features" in refused(write(tmp_path / "a.h5"), encoder=spec.key)
    wide = np.random.default_rng(2).normal(size=(12, spec.dim)).astype(np.float32)
    made = read(write(tmp_path / "b.h5", features=wide), encoder=spec.key)
    assert made.encoder["licence"] == spec.licence
    assert len(made.provenance["overridden"]) == 1  # tiles of 256 px, not 224
    with pytest.raises(ContractError, match="differs"):
        TissueHead.load().require_fit(made, 0.5)
    with pytest.raises(ContractError):
        ask(made, ["necrosis"])


def test_imported_features_fill_bags_but_never_join_those_of_known_weights(tmp_path: Path) -> None:
    made = read(write(tmp_path / "x.h5"))
    bag = bag_from_embeddings(made, [0.5], label=1)
    assert bag.encoder == f"theirs@{UNKNOWN}"
    with pytest.raises(MilError, match="another encoder"):
        check_same([bag, replace(bag, encoder=f"theirs@{'0' * 64}")])
    with pytest.raises(ContractError):
        ask(made, ["necrosis"])


# ---- the other layouts


def stamp(path: Path, **attributes: object) -> Path:
    with h5py.File(path, "w") as file:
        file["feats"], file["coords"] = ROWS.astype(np.float16), (PLACES * 0.25 + 0.02).astype(np.float32)
        about = {"unit": "um", "tile_size_um": 256.0, "tile_size_px": 224, "extractor": "theirs", "feat_type": "tile"}
        file.attrs.update({key: value for key, value in (about | attributes).items() if value is not None})
    return path


def test_stamp_is_read_in_micrometres(tmp_path: Path) -> None:
    made = import_features(stamp(tmp_path / "x.h5"), "stamp", tmp_path, ImportOptions(mpp0=Mpp.square(0.25)))
    assert np.array_equal(made.coords(256 / 224), PLACES)
    assert made.extent(256 / 224) == pytest.approx((1024, 1024))
    assert made.provenance["imported"]["places_rounded"] is True
    older = stamp(tmp_path / "y.h5", tile_size_um=None, tile_size=256.0)
    told = ImportOptions(mpp0=Mpp.square(0.25), px=224)
    assert import_features(older, "stamp", tmp_path, told).zooms == made.zooms


@pytest.mark.parametrize(
    ("attributes", "sentence"),
    [
        ({"feat_type": "slide"}, "of a slide or patient"),
        ({"unit": "px"}, "in micrometres"),
        ({"tile_size_um": None}, "in micrometres"),
        ({"tile_size_px": None}, "--tile"),
    ],
    ids=str,
)
def test_stamp_files_without_a_scale_are_refused(attributes: dict[str, object], sentence: str, tmp_path: Path) -> None:
    path = stamp(tmp_path / "x.h5", **attributes)
    with pytest.raises(InterchangeError, match=sentence):
        import_features(path, "stamp", tmp_path / "out", ImportOptions(mpp0=Mpp.square(0.25)))
    with pytest.raises(InterchangeError, match="--mpp0"):
        import_features(stamp(tmp_path / "y.h5"), "stamp", tmp_path / "out")


def test_anndata_of_others(tmp_path: Path) -> None:
    anndata = pytest.importorskip("anndata")
    sparse = pytest.importorskip("scipy.sparse")
    told = ImportOptions(encoder="theirs", mpp0=Mpp.square(0.5), px=224, mpp=0.5)

    def file(name: str, table: Any) -> Path:  # noqa: ANN401 - an AnnData
        table.write_h5ad(tmp_path / name, compression="gzip")
        return tmp_path / name

    good = file("a.h5ad", anndata.AnnData(X=ROWS, obsm={"spatial": PLACES.astype(float)}))
    assert np.array_equal(import_features(good, "anndata", tmp_path, told).coords(0.5), PLACES)
    nowhere = file("b.h5ad", anndata.AnnData(X=ROWS))
    with pytest.raises(InterchangeError, match="no array 'spatial'"):
        import_features(nowhere, "anndata", tmp_path, told)
    thin = file("c.h5ad", anndata.AnnData(X=sparse.csr_matrix(ROWS), obsm={"spatial": PLACES}))
    with pytest.raises(InterchangeError, match="sparse"):
        import_features(thin, "anndata", tmp_path, told)
    bare = write(tmp_path / "d.h5", X=ROWS)
    with pytest.raises(InterchangeError, match="obsm"):
        import_features(bare, "anndata", tmp_path, told)


def test_of_claims_only_digests_are_kept(tmp_path: Path) -> None:
    claims = {"weights_digest": "a" * 64, "preprocessing_digest": CANARY, f"{CANARY}_digest": "b" * 64}
    note = json.dumps({"encoder": claims})
    made = read(write(tmp_path / "x.h5", lambda file, _: file.attrs.update(oncoscope=note)))
    assert made.provenance["imported"]["claimed"] == {"weights_digest": "a" * 64}


def test_a_note_is_a_claim(tmp_path: Path) -> None:
    note = {"mpp": 1.0, "mpp0": [0.5, "x"], "px": True, "size": [-1, 5], "encoder": {"key": CANARY + " ", "a": 1}}
    path = write(tmp_path / "x.h5", lambda file, _: file.attrs.update(oncoscope=json.dumps(note)))
    assert "(--mpp0)" in refused(path, mpp0=None)
    assert "(--encoder)" in refused(path, encoder=None)
    assert read(path).zooms == (0.5,), "256 level-0 pixels of 0.5 um for 256 px are not 1 um/px"
