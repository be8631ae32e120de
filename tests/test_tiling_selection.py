"""Which tiles are cut: samples that are small and fair, masks drawn by hand, and names that tell selections apart."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from slides import Mpp, Region, Size, SlideInfo, open_slide
from slides.testing import draw, write_slide
from tiling import MaskError, Sampling, Selection, SpecError, TileGrid, TileSpec, TissueMask, TissueSpec, plan, tile
from tiling.blueprint import stage_fingerprint
from tiling.frame import Frame
from tiling.onnx_segmenter import OnnxSegmenter
from tiling.sampling import UM_PER_MM
from tools.mirax_slide import write_mirax
from tools.onnx_file import network

SIZE = Size(9000, 7000)


def info_of(size: Size = SIZE) -> SlideInfo:
    return SlideInfo(size, Mpp.square(0.5), "header", "f", "r", "", (), Region.whole(size), None, content_hash="0" * 64)


@st.composite
def grids(draw_: st.DrawFn) -> TileGrid:
    """Tiles of any scale, scattered over a slide of several squares, with shares of tissue that often tie."""
    shape = draw_(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    spec = TileSpec(draw_(st.sampled_from([0.25, 0.5, 2.0])), overlap=draw_(st.sampled_from([0, 100])))
    rng = np.random.default_rng(draw_(st.integers(0, 2**32 - 1)))
    cells = np.argwhere(rng.random(shape) < draw_(st.floats(0.02, 1))).astype(np.int32)
    assume(len(cells) > 0)
    tissue = (rng.integers(1, 9, len(cells)) / 8).astype(np.float32)
    return TileGrid(spec, Mpp.square(0.25), (30, 70), shape, cells, tissue, np.full(len(cells), -1, np.int64))


def squares(grid: TileGrid, sampling: Sampling) -> NDArray[np.int64]:
    """In which square each tile begins, counted from the first tile of the grid; any number for each."""
    um = (grid.coords - np.array(grid.origin)) * np.array([grid.mpp0.x, grid.mpp0.y])
    column, row = np.floor((um + 0.2) / (sampling.square_mm * UM_PER_MM)).astype(np.int64).T
    return np.asarray(row * 10_000 + column)


@given(grid=grids(), tiles=st.integers(1, 200), kind=st.sampled_from(["top", "stratified"]))
def test_a_sample_is_a_part_of_the_right_size_and_always_the_same(grid: TileGrid, tiles: int, kind: str) -> None:
    sampling = Sampling(kind, tiles)  # type: ignore[arg-type]
    chosen = sampling.choose(grid)
    assert len(chosen) == min(tiles, len(grid))
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert 0 <= chosen.min() <= chosen.max() < len(grid)
    again = replace(grid, cells=grid.cells.copy(), tissue=grid.tissue.copy())
    assert np.array_equal(Sampling(kind, tiles).choose(again), chosen)  # type: ignore[arg-type]
    assert np.array_equal(Sampling().choose(grid), np.arange(len(grid)))


@given(grid=grids(), tiles=st.integers(1, 200))
def test_the_top_has_at_least_as_much_tissue_as_the_rest(grid: TileGrid, tiles: int) -> None:
    chosen = Sampling("top", tiles).choose(grid)
    rest = np.delete(grid.tissue, chosen)
    assert grid.tissue[chosen].min() >= rest.max(initial=0)


@given(grid=grids(), tiles=st.integers(1, 200), side=st.sampled_from([0.3, 1.0, 2.0]))
def test_a_stratified_sample_leaves_no_square_out_and_none_behind(grid: TileGrid, tiles: int, side: float) -> None:
    sampling = Sampling("stratified", tiles, side)
    chosen, square = sampling.choose(grid), squares(grid, sampling)
    there = {int(each): int(np.count_nonzero(square == each)) for each in np.unique(square)}
    taken = {each: int(np.count_nonzero(square[chosen] == each)) for each in there}
    if tiles >= len(there):
        assert all(taken.values()), "every square with tiles gives one"
    most = max(taken.values())
    assert all(taken[each] >= min(there[each], most - 1) for each in there), "as many from each, as far as it has them"


@pytest.mark.parametrize(("kind", "tiles"), [("top", 0), ("stratified", -1), ("most", 3), ("all", 5)])
def test_samples_that_mean_nothing_are_refused(kind: str, tiles: int) -> None:
    with pytest.raises(SpecError, match="top:N"):
        Sampling(kind, tiles)  # type: ignore[arg-type]


@given(seed=st.integers(0, 999), tiles=st.integers(1, 60), kind=st.sampled_from(["top", "stratified"]))
def test_coarser_zooms_of_a_sample_hold_its_parents_and_no_more(seed: int, tiles: int, kind: str) -> None:
    array = np.random.default_rng(seed).random((70, 90)) < 0.4
    mask = TissueMask(array, (SIZE.width / 90, SIZE.height / 70))
    sampling = Sampling(kind, tiles)  # type: ignore[arg-type]
    grids = plan(info_of(), [TileSpec(0.5), TileSpec(1.0), TileSpec(2.0)], mask, sampling)
    assert len(grids[0]) == tiles
    for fine, coarse in pairwise(grids):
        assert set(fine.parent.tolist()) == set(range(len(coarse)))


# ------------------------------------------------------------------ names


def name_of(selection: Selection | None) -> str:
    return stage_fingerprint(info_of(), [TileSpec(0.5)], "no", selection)


def outline(path: Path, *corners: tuple[int, int]) -> Path:
    """A file with one polygon, as QuPath writes it."""
    ring = [list(corner) for corner in (*corners, corners[0])]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    features = [{"type": "Feature", "geometry": geometry, "properties": {"objectType": "annotation"}}]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def square(path: Path, left: int, top: int, side: int) -> Path:
    return outline(path, (left, top), (left + side, top), (left + side, top + side), (left, top + side))


def test_every_selection_has_a_name_of_its_own(tmp_path: Path) -> None:
    drawn, other = square(tmp_path / "a.geojson", 0, 0, 500), square(tmp_path / "b.geojson", 0, 0, 501)
    weights = np.array([[0.0, -1.0, 0.0]])
    networks = [network(tmp_path / f"{bias}.onnx", weights, np.array([bias]), 64) for bias in (0.5, 0.6)]
    selections = [
        Selection(),
        *(Selection(sampling=Sampling(kind, tiles)) for kind in ("top", "stratified") for tiles in (5, 6)),
        Selection(sampling=Sampling("stratified", 5, square_mm=1.0)),
        Selection(tissue=TissueSpec(stain="he")),
        Selection(outline=drawn),
        Selection(outline=drawn, frame="bounds"),
        Selection(outline=other),
        *(Selection(segmenter=OnnxSegmenter(path, side=64, overlap=16)) for path in networks),
    ]
    assert len({name_of(each) for each in selections}) == len(selections)
    assert name_of(None) == name_of(Selection()) == name_of(Selection(frame="bounds"))


def test_a_mask_is_named_by_what_it_draws_and_not_by_where_it_stands(tmp_path: Path) -> None:
    (tmp_path / "DOE_JOHN").mkdir()
    one, two = (square(tmp_path / name, 10, 20, 500) for name in ("mask.geojson", "DOE_JOHN/other.geojson"))
    first = name_of(Selection(outline=one))
    assert name_of(Selection(outline=two)) == first
    assert "DOE" not in json.dumps(Selection(outline=two).to_json())
    square(one, 10, 20, 400)
    assert name_of(Selection(outline=one)) != first


def test_a_mask_that_is_not_there_is_a_mask_that_cannot_be_used(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "s.svs", size=(700, 500))
    with pytest.raises(MaskError, match="cannot be read") as caught:
        tile(path, [TileSpec(0.5)], tmp_path / "out", selection=Selection(outline=tmp_path / "DOE_JOHN.geojson"))
    assert "DOE" not in str(caught.value)
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------ masks drawn by hand


def cells_in(box: Region, corner: tuple[int, int], side: int, shape: tuple[int, int]) -> set[tuple[int, int]]:
    """Level-0 corners of the tiles of which at least a quarter lies in a box: geometry, without masks."""
    found = set()
    for row, col in np.ndindex(shape):
        place = Region(corner[0] + col * side, corner[1] + row * side, side, side)
        shared = place.clipped(box)
        if shared is not None and shared.width * shared.height >= 0.25 * side * side:
            found.add((place.x, place.y))
    return found


def test_a_mask_edited_by_hand_cuts_there_and_nowhere_else(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "s.svs", size=(2000, 1500), seed=3)
    spec = TileSpec(0.5, px=100)
    box = Region(330, 270, 800, 600)
    drawn = outline(tmp_path / "m.geojson", (330, 270), (1130, 270), (1130, 870), (330, 870))
    found = tile(path, [spec], tmp_path / "out", selection=Selection(outline=drawn), keep="no")
    places = set(map(tuple, found.grid(0.5).coords.tolist()))
    assert places == cells_in(box, (0, 0), 100, (15, 20))
    assert found.mask.area_mm2(Mpp.square(0.5)) == pytest.approx(box.width * box.height * 0.25e-6, rel=0.02)
    by_rule = tile(path, [spec], tmp_path / "out", keep="no")
    assert by_rule.fingerprint != found.fingerprint
    assert set(map(tuple, by_rule.grid(0.5).coords.tolist())) - places, "the rule finds tissue elsewhere too"


@pytest.mark.parametrize(("frame", "zero"), [("slide", (0, 0)), ("bounds", (3 * 128, 2 * 128))])
def test_a_mask_on_a_slide_with_bounds_cuts_where_it_was_drawn(
    tmp_path: Path, frame: Frame, zero: tuple[int, int]
) -> None:
    path = write_mirax(tmp_path, draw(1024, 768, 0.5, seed=2), before=(3, 2), after=(1, 1))
    with open_slide(path) as slide:
        assert (slide.info.bounds.x, slide.info.bounds.y) == (384, 256)
    box = Region(384 + 200, 256 + 100, 400, 300)  # of the whole slide
    left, top = box.x - zero[0], box.y - zero[1]
    drawn = outline(tmp_path / "m.geojson", (left, top), (left + 400, top), (left + 400, top + 300), (left, top + 300))
    selection = Selection(outline=drawn, frame=frame)
    found = tile(path, [TileSpec(0.5, px=100)], tmp_path / "out", selection=selection, keep="no")
    assert set(map(tuple, found.grid(0.5).coords.tolist())) == cells_in(box, (384, 256), 100, (8, 11))
