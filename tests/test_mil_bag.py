"""Bags of real embedding stores: several zooms are joined by place, and missing parents are marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from foundation import Embeddings
from foundation.embeddings import KIND, write_header, write_zoom
from mil import BagError, bag_from_embeddings
from mil.bag import ancestors
from tiling import staged

Cells = Sequence[tuple[int, int]]
SIDE = 448.0  # level-0 pixels of a tile at 0.5 um/px, as on a slide of 0.25 um/px
WIDTH = {0.5: 3, 1.0: 2, 2.0: 4, 4.0: 1}


def feature(zoom: float, cells: NDArray[np.int64]) -> NDArray[np.float16]:
    """Features that say where they come from: (zoom, row, col, 1), cut to the zoom's width."""
    columns = [np.full(len(cells), zoom), cells[:, 0], cells[:, 1], np.ones(len(cells))]
    return np.stack(columns, axis=1)[:, : WIDTH[zoom]].astype(np.float16)


def write(folder: Path, grids: Mapping[float, Cells], skip: Sequence[float] = ()) -> Embeddings:
    """Write a store of the given cells (row, col); parents are by place, -1 where there is none."""
    arrays, zooms = {}, []
    order = sorted(grids)
    for zoom in order:
        side = SIDE * zoom / 0.5
        cells = np.array(grids[zoom], np.int64).reshape(-1, 2)
        coarser = next((z for z in order if z > zoom), None)
        parent = np.full(len(cells), -1, np.int64)
        if coarser:
            index = {tuple(cell): i for i, cell in enumerate(grids[coarser])}
            ratio = int(coarser / zoom)
            parent = np.array([index.get((r // ratio, c // ratio), -1) for r, c in cells], np.int64)
        coords = np.rint(cells[:, ::-1] * side).astype(np.int64)
        tissue = np.ones(len(cells), np.float32)
        arrays[zoom] = {"features": feature(zoom, cells), "coords": coords, "tissue": tissue, "parent": parent}
        zooms.append({"mpp": zoom, "px": 224, "tiles": len(cells), "extent": [side, side]})
    about = {
        "encoder": {"key": "toy", "weights_digest": "0" * 64},
        "slide": {},
        "tiles_fingerprint": "1" * 64,
        "zooms": [zoom for zoom in zooms if zoom["mpp"] not in skip],
        "provenance": {},
    }
    final = folder / "toy.embeddings.zarr"
    with staged(final, kind=KIND, fingerprint="f" * 64) as place:
        write_header(place, about)
        for zoom in (z for z in order if z not in skip):
            write_zoom(place, zoom, arrays[zoom])
    return Embeddings.open(final)


FINE = [(0, 0), (0, 1), (1, 5), (6, 7), (7, 7)]


def test_one_zoom_is_taken_as_it_is(tmp_path: Path) -> None:
    embeddings = write(tmp_path, {0.5: FINE})
    bag = bag_from_embeddings(embeddings, [0.5], label=1.0)
    assert bag.features.dtype == np.float32
    assert np.array_equal(bag.features, embeddings.features(0.5))
    assert np.array_equal(bag.coords, embeddings.coords(0.5))
    assert (bag.id, bag.label, bag.mpp) == ("f" * 64, 1.0, (0.5,))
    assert bag.encoder == "toy@" + "0" * 64


def test_a_fine_tile_carries_what_surrounds_it_and_a_missing_parent_is_marked(tmp_path: Path) -> None:
    grids = {0.5: FINE, 1.0: [(0, 2), (0, 0), (3, 3)], 2.0: [(1, 1), (0, 1)]}
    bag = bag_from_embeddings(write(tmp_path, grids), [2.0, 0.5, 1.0])
    assert bag.mpp == (0.5, 1.0, 2.0)
    assert bag.features.tolist() == [
        # 0.5: zoom, row, col | 1.0: zoom, row, there | 2.0: zoom, row, col, 1, there
        [0.5, 0, 0, 1.0, 0, 1, 0, 0, 0, 0, 0],  # its grandparent (0, 0) is not in the store
        [0.5, 0, 1, 1.0, 0, 1, 0, 0, 0, 0, 0],
        [0.5, 1, 5, 1.0, 0, 1, 2.0, 0, 1, 1, 1],
        [0.5, 6, 7, 1.0, 3, 1, 2.0, 1, 1, 1, 1],
        [0.5, 7, 7, 1.0, 3, 1, 2.0, 1, 1, 1, 1],
    ]


def test_a_zoom_between_is_followed_though_it_is_not_joined(tmp_path: Path) -> None:
    grids = {0.5: FINE, 1.0: [(0, 2), (0, 0), (3, 3)], 2.0: [(1, 1), (0, 1)]}
    embeddings = write(tmp_path, grids)
    assert ancestors(embeddings, 0.5, 2.0).tolist() == [-1, -1, 1, 0, 0]
    assert bag_from_embeddings(embeddings, [0.5, 2.0]).features.shape == (5, 3 + 4 + 1)


@pytest.mark.parametrize("between", [[(0, 2), (0, 0), (3, 3)], [(0, 1), (1, 0), (3, 3), (0, 0), (0, 2)]])
def test_a_zoom_that_was_not_embedded_breaks_the_chain_and_is_not_papered_over(tmp_path: Path, between: Cells) -> None:
    embeddings = write(tmp_path, {0.5: FINE, 1.0: between, 2.0: [(1, 1), (0, 1), (0, 0)]}, skip=[1.0])
    with pytest.raises(BagError, match="was not embedded"):
        bag_from_embeddings(embeddings, [0.5, 2.0])


def test_a_chain_that_leads_past_the_end_names_the_zoom_where_it_breaks(tmp_path: Path) -> None:
    middle = [(row, col) for row in range(4) for col in range(4)]
    embeddings = write(tmp_path, {0.5: FINE, 1.0: middle, 2.0: [(0, 0)], 4.0: [(0, 0)]}, skip=[1.0])
    assert embeddings.parent(0.5).max() >= len(embeddings.coords(2.0))
    with pytest.raises(BagError, match=r"at 0\.5 um/px are not at 2 um/px"):
        bag_from_embeddings(embeddings, [0.5, 4.0])
    with pytest.raises(BagError, match="was not embedded"):
        bag_from_embeddings(embeddings, [0.5, 2.0])


@pytest.mark.parametrize(
    ("zooms", "words"), [([4.0], "asked for: 4"), ([], "asked for: none"), ([0.5, 3.0], "0.5 um/px")]
)
def test_zooms_that_are_not_there_are_refused(tmp_path: Path, zooms: list[float], words: str) -> None:
    with pytest.raises(BagError, match=words):
        bag_from_embeddings(write(tmp_path, {0.5: FINE}), zooms)


CELLS = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), unique=True)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fine=CELLS.filter(bool), middle=CELLS.filter(bool), coarse=CELLS.filter(bool))
def test_each_part_is_of_the_tile_that_holds_the_place(
    tmp_path_factory: pytest.TempPathFactory, fine: Cells, middle: Cells, coarse: Cells
) -> None:
    embeddings = write(tmp_path_factory.mktemp("join"), {0.5: fine, 1.0: middle, 2.0: coarse})
    bag = bag_from_embeddings(embeddings, [0.5, 1.0, 2.0])
    for (row, col), tile in zip(fine, bag.features, strict=True):
        there = (row // 2, col // 2) in set(middle)
        above = there and (row // 4, col // 4) in set(coarse)
        assert tile[:3].tolist() == [0.5, row, col]
        assert tile[3:6].tolist() == ([1, row // 2, 1] if there else [0, 0, 0])
        assert tile[6:].tolist() == ([2, row // 4, col // 4, 1, 1] if above else [0] * 5)
