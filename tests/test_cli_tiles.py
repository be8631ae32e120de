"""`oncoscope tile`: every option that says which tiles are cut, by whom, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from api.cli import main
from slides import Region
from tiling import TileStore
from tools.mirax_slide import write_mirax
from tools.onnx_file import network

CANARY = "DOE_JOHN_19570312"
SIDE, CORNER = 224, (256, 384)
PINK = Region(CORNER[0], CORNER[1], 3 * SIDE, 4 * SIDE)
GREY = Region(CORNER[0] + 4 * SIDE, CORNER[1], 3 * SIDE, 3 * SIDE)
"""What is drawn: a section, and a smear without colour, in level-0 pixels of the whole slide."""
Tile = Callable[..., "tuple[dict[str, Any], TileStore]"]


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A MIRAX slide of 0.5 um/px whose scanned part begins at `CORNER`."""
    rng = np.random.default_rng(7)
    image = np.full((8 * 128, 13 * 128, 3), 243, np.uint8)
    for place, colour in ((PINK, (214, 150, 190)), (GREY, (150, 150, 150))):
        noise = rng.integers(-9, 10, (place.height, place.width, 1))
        left, top = place.x - CORNER[0], place.y - CORNER[1]
        image[top : top + place.height, left : left + place.width] = np.array(colour) + noise
    return write_mirax(tmp_path_factory.mktemp(CANARY), image, before=(2, 3), after=(1, 1))


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("out")


@pytest.fixture
def cut(slide: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> Tile:
    """Tiles the slide at 0.5 um/px; gives the document and the store."""

    def cut(*options: object) -> tuple[dict[str, Any], TileStore]:
        call = ["tile", slide, "--out", out, "--mpp", "0.5", "--keep", "no", "--json", *options]
        status = main([str(word) for word in call])
        shown = capsys.readouterr()
        assert (status, shown.err) == (0, "")
        assert CANARY not in shown.out
        document = json.loads(shown.out)
        return document, TileStore.open(Path(document["store"]))

    return cut


def places(store: TileStore, mpp: float = 0.5) -> set[tuple[int, int]]:
    return set(map(tuple, store.grid(mpp).coords.tolist()))


def cells(*parts: Region) -> set[tuple[int, int]]:
    """The tiles that a part is made of."""
    return {
        (part.x + col * SIDE, part.y + row * SIDE)
        for part in parts
        for row, col in np.ndindex(part.height // SIDE, part.width // SIDE)
    }


def test_without_options_all_that_is_no_glass_is_cut(cut: Tile) -> None:
    document, store = cut()
    assert places(store) == cells(PINK, GREY)
    assert document["tiles"] == {"0.5": 21}
    assert document["fingerprint"] == store.fingerprint
    assert "research use only" in document["notice"]
    assert set(document["quality"]) >= {"tissue_mm2", "pen"}


def test_neighbours_share_what_they_are_told_to(cut: Tile) -> None:
    _, store = cut("--overlap", SIDE // 2)
    xs = np.unique(store.grid(0.5).coords[:, 0])
    assert np.diff(xs).min() == SIDE // 2
    assert cells(PINK, GREY) < places(store)


def test_the_least_share_of_tissue_decides_at_the_border(cut: Tile) -> None:
    loose, strict = (cut("--overlap", SIDE // 2, "--min-tissue", share)[1] for share in ("0.1", "0.9"))
    assert 0.1 <= loose.grid(0.5).tissue.min() < 0.9 <= strict.grid(0.5).tissue.min()
    assert places(strict) < places(loose)


@pytest.mark.parametrize("how", ["top:3", "stratified:5"])
def test_a_sample_is_as_large_as_asked_and_the_same_each_time(cut: Tile, tmp_path: Path, how: str) -> None:
    _, everything = cut()
    document, store = cut("--sample", how, "--mpp", "1")
    assert document["tiles"]["0.5"] == int(how[-1]) == len(places(store))
    assert places(store) < places(everything)
    assert document["fingerprint"] != everything.fingerprint
    assert set(store.grid(0.5).parent.tolist()) == set(range(len(store.grid(1.0))))
    again, _ = cut("--sample", how, "--mpp", "1", "--out", tmp_path)
    assert again["fingerprint"] == document["fingerprint"]
    assert places(TileStore.open(Path(again["store"]))) == places(store)


def test_the_stain_decides_whether_grey_is_tissue(cut: Tile) -> None:
    assert places(cut("--stain", "he")[1]) == cells(PINK)
    assert places(cut("--stain", "ihc")[1]) == cells(PINK, GREY)


def test_a_network_of_the_users_finds_tissue(cut: Tile, tmp_path: Path) -> None:
    dark = network(tmp_path / f"{CANARY}.onnx", np.array([[-1.0, 0.0, 0.0]]), np.array([1.2]), 512)
    _, store = cut("--segmenter", dark)  # tissue where red is under 0.7
    assert places(store) == cells(GREY)


def edited(path: Path, change: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> None:
    """Keep the largest outline, move its corners, and write as QuPath does, which keeps no members of ours."""
    document = json.loads(path.read_text())
    rings = [feature["geometry"]["coordinates"][0] for feature in document["features"]]
    ring = change(np.array(max(rings, key=lambda ring: np.ptp(np.array(ring), axis=0).prod())))
    geometry = {"type": "Polygon", "coordinates": [ring.tolist()]}
    feature = {"type": "Feature", "geometry": geometry, "properties": {"objectType": "annotation"}}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))


@pytest.mark.parametrize("frame", ["slide", "bounds"])
def test_a_mask_goes_out_is_edited_and_comes_back(
    cut: Tile, slide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], frame: str
) -> None:
    path = tmp_path / "mask.geojson"
    assert main(["mask", str(slide), "--out", str(path), "--frame", frame]) == 0
    assert CANARY not in capsys.readouterr().out
    whole, store = cut("--mask", path, "--frame", frame)
    assert places(store) == cells(PINK, GREY)
    edited(path, lambda ring: ring + np.array([2 * SIDE, 0]))  # the section, two tiles to the right
    moved, store = cut("--mask", path, "--frame", frame)
    assert places(store) == {(x + 2 * SIDE, y) for x, y in cells(PINK)}
    assert moved["fingerprint"] != whole["fingerprint"]
    assert (
        cut("--mask", path.rename(tmp_path / f"{CANARY}.geojson"), "--frame", frame)[0]["fingerprint"]
        == (moved["fingerprint"])
    )


def test_workers_cut_the_same_tiles(cut: Tile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, store = cut("--sample", "top:4")
    monkeypatch.delattr("tiling.stage.LocalPool")  # whoever would cut here cannot
    there, other = cut("--sample", "top:4", "--workers", "1", "--out", tmp_path)
    assert there["fingerprint"] == here["fingerprint"]
    assert Path(there["store"]).parent == tmp_path
    assert places(other) == places(store)


REFUSED: list[tuple[list[str], str]] = [
    (["--sample", "top:0"], "top:N"),
    (["--sample", "top"], "top:N"),
    (["--sample", "top:many"], "top:N"),
    (["--sample", "best:3"], "top:N"),
    (["--sample", "all:3"], "top:N"),
    (["--overlap", "224"], "overlap of 224 px"),
    (["--overlap", "-1"], "overlap of -1 px"),
    (["--min-tissue", "2"], "least tissue share"),
    (["--stain", "pas"], "--stain"),
    (["--mask", "absent"], "the mask's file cannot be read"),
    (["--mask", "text"], "not JSON"),
    (["--mask", "drawn", "--segmenter", "text"], "not both"),
    (["--mask", "drawn", "--frame", "bounds"], "with the frame slide"),
    (["--segmenter", "absent"], "segmenter"),
    (["--segmenter", "text"], "segmenter"),
    (["--workers", "0"], "--workers is a positive number"),
    (["--workers", "2", "--scheduler", "tcp://host:1"], "without --scheduler"),
]


@pytest.mark.parametrize(("options", "word"), REFUSED, ids=str)
def test_what_cannot_be_cut_is_refused_in_one_sentence(
    slide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], word: str
) -> None:
    names = {name: tmp_path / f"{CANARY}-{name}" for name in ("absent", "text", "drawn")}
    names["text"].write_text("neither a mask nor a network")
    assert main(["mask", str(slide), "--out", str(names["drawn"])]) == 0
    capsys.readouterr()
    given = [str(names.get(option, option)) for option in options]
    assert main(["tile", str(slide), "--out", str(tmp_path / "out"), "--mpp", "0.5", *given]) == 2
    shown = capsys.readouterr()
    (sentence,) = shown.err.splitlines()
    assert word in sentence
    assert CANARY not in sentence
    assert shown.out == ""
    assert not list((tmp_path / "out").rglob("*.zarr"))
