"""A folder of embeddings stores as bags: opened one at a time, of one encoder, several zooms joined."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from foundation.embeddings import KIND, Embeddings, write_header, write_zoom
from mil import BagError, EmptyBagError, bag_from_embeddings
from mil.cohort.read import open_bags, read_cohort
from mil.cohort.spec import CohortSpec
from mil.cohort.stores import StoreBags
from mil.errors import CohortError
from tiling import staged

ZOOMS = (0.5, 1.0)


def store(
    folder: Path, name: str, tiles: int = 4, width: int = 3, key: str = "toy", zooms: tuple[float, ...] = ZOOMS
) -> None:
    """A store whose coarse zoom is one tile over all fine ones."""
    about = {
        "encoder": {"key": key, "weights_digest": "0" * 64},
        "slide": {},
        "tiles_fingerprint": "1" * 64,
        "zooms": [
            {"mpp": z, "px": 224, "tiles": tiles if z == ZOOMS[0] else 1, "extent": [448 * z / 0.5] * 2} for z in zooms
        ],
        "provenance": {},
    }
    with staged(folder / f"{name}.embeddings.zarr", kind=KIND, fingerprint="f" * 64) as place:
        write_header(place, about)
        for zoom in zooms:
            count = tiles if zoom == ZOOMS[0] else 1
            numbers = np.arange(count * width, dtype=np.float16).reshape(count, width) + np.float16(len(name))
            coords = np.array([[i % 2 * 448, i // 2 % 2 * 448] for i in range(count)], np.int64).reshape(-1, 2)
            parent = np.full(count, 0 if zoom == ZOOMS[0] and len(zooms) > 1 else -1, np.int64)
            arrays = {"features": numbers, "coords": coords, "tissue": np.ones(count, np.float32), "parent": parent}
            write_zoom(place, zoom, arrays)


def test_stores_are_read_as_their_bags_are(tmp_path: Path) -> None:
    store(tmp_path, "one")
    store(tmp_path, "three", tiles=2)
    found = open_bags(tmp_path, ZOOMS)
    assert isinstance(found, StoreBags)
    assert (found.ids, found.sizes.tolist(), found.width, found.mpp) == (("one", "three"), [4, 2], 7, ZOOMS)
    bag = bag_from_embeddings(Embeddings.open(tmp_path / "one.embeddings.zarr"), ZOOMS)
    assert found.encoder == bag.encoder
    np.testing.assert_array_equal(found.features(0), bag.features)
    np.testing.assert_array_equal(found.features(0, np.array([1, 3])), bag.features[[1, 3]])
    np.testing.assert_array_equal(found.coords(0), bag.coords)
    assert open_bags(tmp_path, (0.5,)).width == 3


def test_stores_join_the_table_by_their_names(tmp_path: Path) -> None:
    store(tmp_path, "one", zooms=(0.5,))
    store(tmp_path, "two", zooms=(0.5,))
    (tmp_path / "l.csv").write_text("slide_id,patient,y\ntwo,p,1\n")
    cohort = read_cohort(tmp_path, tmp_path / "l.csv", CohortSpec(), ["y"])
    assert [case.slides for case in cohort.cases] == [(1,)]
    assert cohort.joined.bags_without_row == 1
    assert cohort.bag(0).mpp == (0.5,)


def test_the_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    for folder, tiles in (("a", 4), ("b", 4), ("c", 3)):
        store(tmp_path / folder, "one", tiles=tiles)
    one, two, other = (StoreBags(tmp_path / folder, ZOOMS).fingerprint for folder in "abc")
    assert one == two != other
    assert StoreBags(tmp_path / "a", (0.5,)).fingerprint != one


def test_what_cannot_be_used_is_refused_by_its_row(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="no embeddings store"):
        StoreBags(tmp_path)
    store(tmp_path, "one")
    with pytest.raises(CohortError, match=r"Store 0 .* 0\.5, 1 um/px; say which"):
        StoreBags(tmp_path)
    with pytest.raises(CohortError, match="say which"):
        StoreBags(tmp_path, (0.25,))
    store(tmp_path, "two", key="other")
    with pytest.raises(BagError, match=r"Slide 1 .* another encoder"):
        StoreBags(tmp_path, (0.5,))


def test_a_slide_without_tiles_a_width_that_differs_and_damage_are_named(tmp_path: Path) -> None:
    store(tmp_path / "empty", "a")
    store(tmp_path / "empty", "b", tiles=0)
    with pytest.raises(EmptyBagError, match=r"Slide 1 "):
        StoreBags(tmp_path / "empty", (0.5,))
    store(tmp_path / "wide", "a")
    store(tmp_path / "wide", "b", width=5)
    with pytest.raises(BagError, match=r"Slide 1 .* 5 numbers a tile; slide 0 has 3"):
        StoreBags(tmp_path / "wide", (0.5,)).features(1)
    (tmp_path / "wide" / "b.embeddings.zarr" / "zarr.json").unlink()
    with pytest.raises(CohortError, match=r"Store 1 .*damaged"):
        StoreBags(tmp_path / "wide", (0.5,))
