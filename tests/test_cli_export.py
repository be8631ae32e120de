"""`oncoscope export` and `oncoscope import`: files named by pseudonyms, sentences that say what to do."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from api.cli import main
from foundation import Embeddings, embed, list_encoders
from slides.testing import write_slide
from tiling import TileSpec, tile

CANARY = "DOE_JOHN_19570312"
SPEC = replace(list_encoders()[0], key="colour", dim=6, px=64, mpp=(1.0, 2.0))


class Colour:
    """A small real encoder: mean and spread of each colour."""

    spec = SPEC
    weights_digest = "0" * 64
    preprocessing_digest = SPEC.preprocessing_digest

    def encode(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.concatenate([tiles.mean(axis=(1, 2)), tiles.std(axis=(1, 2))], axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Embeddings:
    folder = tmp_path_factory.mktemp("slides")
    path = write_slide(folder / f"{CANARY}.svs", size=(1200, 900), seed=3)
    return embed(tile(path, [TileSpec(1.0, px=64), TileSpec(2.0, px=64)], folder), Colour(), folder)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:  # noqa: ANN401 - a function
    """Runs a command with --json that succeeds, and gives its document and what it said besides."""

    def run(*arguments: object) -> tuple[dict[str, Any], str]:
        status = main([*map(str, arguments), "--json"])
        shown = capsys.readouterr()
        assert status == 0, shown.err
        assert CANARY not in shown.out + shown.err
        return json.loads(shown.out), shown.err

    return run


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Any:  # noqa: ANN401 - a function
    """Runs a command that is wrong, and gives its sentence."""

    def refused(*arguments: object) -> str:
        assert main([*map(str, arguments)]) == 2
        shown = capsys.readouterr()
        (sentence,) = shown.err.splitlines()
        assert (shown.out, CANARY in sentence) == ("", False)
        return sentence

    return refused


@pytest.mark.parametrize("layout", ["trident", "clam", "stamp"])
def test_a_slide_goes_out_and_comes_back(layout: str, slide: Embeddings, tmp_path: Path, run: Any) -> None:  # noqa: ANN401
    document, said = run("export", slide.path, "--to", layout, "--mpp", 1, "--out", tmp_path / "out")
    assert (document["layout"], document["encoder"], said) == (layout, "colour", "")
    assert "Research use only".lower() in document["notice"].lower()
    pseudonym = f"slide-{slide.slide['content_hash'][:12]}"
    assert {Path(file).name.partition(".")[0].removesuffix("_patches") for file in document["files"]} == {pseudonym}
    made, said = run("import", document["files"][-1], "--from", layout, "--out", tmp_path / "back")
    assert "the slide was not seen" in said
    assert made["provenance"]["imported"]["layout"] == layout
    assert made["encoder"]["weights_digest"] == "unknown"
    back = Embeddings.open(Path(made["store"]))
    assert made["tiles"] == {"1": len(back.coords(1.0))}
    assert np.array_equal(back.features(1.0), slide.features(1.0))
    assert np.array_equal(back.coords(1.0), slide.coords(1.0))


def test_tiles_go_to_qupath(slide: Embeddings, tmp_path: Path, run: Any) -> None:  # noqa: ANN401 - a function
    document, _ = run("export", slide.path, "--to", "geojson", "--mpp", 2, "--name", "S-01", "--out", tmp_path)
    assert document["files"] == [str(tmp_path / "S-01.geojson")]
    found = json.loads((tmp_path / "S-01.geojson").read_text())
    corners = [feature["geometry"]["coordinates"][0][0] for feature in found["features"]]
    assert np.array_equal(corners, slide.coords(2.0))
    assert [item["properties"]["measurements"]["tissue"] for item in found["features"]] == pytest.approx(
        slide.tissue(2.0).tolist(), rel=1e-5
    )
    assert run("export", slide.path, "--to", "geojson", "--mpp", 2, "--name", "S-01", "--out", tmp_path)[0] == document


def test_features_of_others_come_in(tmp_path: Path, run: Any) -> None:  # noqa: ANN401 - a function
    features = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    with h5py.File(tmp_path / f"{CANARY}.h5", "w") as file:
        file["features"], file["coords"] = features, np.array([[0, 0], [256, 0], [0, 256], [256, 256]], np.int32)
    told = ("--encoder", "theirs", "--mpp0", 0.25, "--mpp", 0.5, "--tile", 128)
    document, _ = run("import", tmp_path / f"{CANARY}.h5", "--from", "clam", "--out", tmp_path / "out", *told)
    assert Embeddings.open(Path(document["store"])).extent(0.5) == (256, 256)


def test_wrong_calls_are_one_sentence(slide: Embeddings, tmp_path: Path, refused: Any) -> None:  # noqa: ANN401
    out = ("--out", tmp_path / "out")
    assert "zooms 1, 2 um/px" in refused("export", slide.path, "--to", "stamp", *out)
    assert "hold the zooms 1, 2 um/px; say which" in refused("export", slide.path, "--to", "stamp", "--mpp", 3, *out)
    assert "name for files" in refused("export", slide.path, "--to", "geojson", "--mpp", 1, "--name", "../x", *out)
    assert "oncoscope embed" in refused("export", tmp_path, "--to", "stamp", *out)
    (tmp_path / f"{CANARY}.h5").write_text("no")
    assert "not HDF5" in refused("import", tmp_path / f"{CANARY}.h5", "--from", "stamp", *out)
    assert "plausible" in refused("import", tmp_path / "x", "--from", "stamp", "--mpp0", 0, *out)
    assert not (tmp_path / "out").exists()
