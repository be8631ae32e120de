"""Parts of a slide that different people made meet by place, or are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from foundation.testing import write_embeddings
from mil import Bag, BagError, bag_from_embeddings
from mil.zoom.merge import ZoomPart, merge_zooms, part_of
from mil.zoom.place import holders
from mil.zoom.plan import Zoom, ZoomPlan

WIDTHS = {0.5: 3, 2.0: 2, 8.0: 4}


def part(mpp: float, cells: NDArray[np.int64], side: float = 100.0, name: str = "s") -> ZoomPart:
    """Tiles of `side` x mpp / 0.5 pixels at cells (column, row); features say where they are."""
    size = side * mpp / 0.5
    features = np.concatenate([cells, np.full((len(cells), 2), mpp)], axis=1)[:, : WIDTHS[mpp]].astype(np.float32)
    bag = Bag(name, features, np.rint(cells * size).astype(np.int64), mpp=(mpp,), encoder=f"by-{mpp:g}@0")
    return ZoomPart(bag, (size, size))


def full(columns: int, rows: int) -> NDArray[np.int64]:
    return np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2)


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(1, 30))
def test_the_holder_is_the_nearest_tile_that_has_the_centre(seed: int, fine: int, coarse: int) -> None:
    """Against all pairs; coarse tiles lie anywhere and overlap, some at negative places."""
    rng = np.random.default_rng(seed)
    small, large = rng.integers(-300, 600, (fine, 2)), rng.integers(-300, 600, (coarse, 2))
    found = holders(small, (30.0, 20.0), large, (170.0, 110.0))
    centre = small + np.array([15.0, 10.0])
    for row, index in enumerate(found):
        inside = ((centre[row] >= large) & (centre[row] < large + np.array([170, 110]))).all(axis=1)
        away = (((centre[row] - large) / np.array([170, 110]) - 0.5) ** 2).sum(axis=1)
        assert (index >= 0) == inside.any()
        if index >= 0:
            assert inside[index]
            assert away[index] == pytest.approx(away[inside].min())


def test_three_zooms_by_three_people_meet_by_place() -> None:
    merged = merge_zooms([part(8.0, full(1, 1)), part(0.5, full(8, 8)), part(2.0, full(4, 4)[1:])])
    assert merged.plan.mpp == (0.5, 2.0, 8.0)
    assert merged.plan.encoder == "by-0.5@0|by-2@0|by-8@0"
    fine = merged.parts[0].bag.coords // 100
    expected = (fine // 4) @ np.array([1, 4]) - 1  # the corner of the middle zoom is missing
    np.testing.assert_array_equal(merged.above(1), expected)
    np.testing.assert_array_equal(merged.above(2), np.where(expected < 0, -1, 0))


def test_each_fine_tile_carries_what_surrounds_it_or_nothing() -> None:
    merged = merge_zooms([part(0.5, full(8, 8)), part(2.0, full(4, 4)[1:])])
    bag = merged.early()
    missing = merged.above(1) < 0
    assert bag.features.shape == (64, 3 + 2 + 1)
    assert missing.sum() == 16
    assert (bag.features[missing, 3:] == 0).all()
    np.testing.assert_array_equal(bag.features[~missing, 3:5], (bag.coords // 400)[~missing])
    assert (bag.features[~missing, 5] == 1).all()
    assert (bag.encoder, bag.mpp) == ("by-0.5@0|by-2@0", (0.5, 2.0))


def test_by_place_is_by_parent_index_where_one_person_made_both(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    encoder = {"key": "toy", "family": "toy", "weights_digest": "0" * 64, "preprocessing_digest": "1" * 64}
    both = {1.0: rng.normal(size=(6, 4)), 2.0: rng.normal(size=(6, 4))}
    embeddings = write_embeddings(tmp_path, both, encoder, columns=3)
    merged = merge_zooms([part_of(embeddings, mpp, "s") for mpp in (1.0, 2.0)])
    joined = merged.early()
    plain = bag_from_embeddings(embeddings, [1.0, 2.0], id="s")
    assert (joined.encoder, joined.mpp, joined.features.shape) == (plain.encoder, plain.mpp, plain.features.shape)
    # That store was written without parents; by place they are found all the same.
    assert (plain.features[:, -1] == 0).all()
    assert joined.features[:, -1].tolist() == [1, 1, 1, 1, 1, 1]
    np.testing.assert_array_equal(
        joined.features[:, 4:8], np.asarray(embeddings.features(2.0), np.float32)[[0, 0, 1] * 2]
    )


def test_maps_of_all_zooms_meet_on_the_finest() -> None:
    merged = merge_zooms([part(0.5, full(8, 8)), part(2.0, full(4, 4)[1:])])
    values = [np.arange(64.0), np.arange(15.0)]
    found = merged.on_finest(values)
    np.testing.assert_array_equal(found[:, 0], values[0])
    np.testing.assert_array_equal(np.isnan(found[:, 1]), merged.above(1) < 0)
    np.testing.assert_array_equal(found[-1], [63, 4])
    with pytest.raises(BagError, match="Part 1 has 15 tiles and 14 values"):
        merged.on_finest([values[0], values[1][1:]])


def test_all_zooms_are_packed_into_rows_of_a_plan() -> None:
    merged = merge_zooms([part(0.5, full(4, 4)), part(2.0, full(1, 1))])
    bag = merged.packed()
    plan = merged.plan
    assert bag.features.shape == (17, 2 + 3 + 2)
    assert plan.zoom_of(bag.features).tolist() == [0] * 16 + [1]
    np.testing.assert_array_equal(bag.features[:16, 2:5], merged.parts[0].bag.features)
    np.testing.assert_array_equal(bag.features[16], [0, 1, 0, 0, 0, 0, 0])
    assert (bag.coords[16] == 0).all()
    wide = ZoomPlan((*plan.zooms, Zoom(8.0, "by-8@0", 4)))
    absent = merged.packed(wide)
    assert (absent.features.shape[1], absent.mpp, absent.encoder) == (wide.width, wide.mpp, wide.encoder)
    with pytest.raises(BagError, match="another encoder or at another zoom"):
        merged.packed(ZoomPlan(plan.zooms[:1]))


def test_places_that_do_not_match_are_refused() -> None:
    fine, coarse = part(0.5, full(8, 8)), part(2.0, full(2, 2))
    merge_zooms([fine, coarse])
    shifted = replace(coarse, bag=replace(coarse.bag, coords=coarse.bag.coords + 100_000))
    with pytest.raises(BagError, match=r"0% lie in one at 2 um/px: the places do not match"):
        merge_zooms([fine, shifted])


def test_a_zoom_that_covers_a_corner_only_is_no_mismatch() -> None:
    """Either side may be partial: few fine tiles under many coarse ones, or few coarse ones over many fine ones."""
    merge_zooms([part(0.5, full(4, 4)), part(2.0, full(30, 30))])
    merge_zooms([part(0.5, full(60, 60)), part(2.0, full(1, 1))])


def test_parts_of_other_slides_are_refused() -> None:
    fine, coarse = part(0.5, full(8, 8)), part(2.0, full(2, 2))
    bag = coarse.bag
    for other in (replace(bag, id="other"), replace(bag, patient="p"), replace(bag, label=1.0)):
        with pytest.raises(BagError, match="Part 1 is of another slide or patient"):
            merge_zooms([fine, replace(coarse, bag=other)])


def test_what_is_no_single_zoom_is_refused() -> None:
    fine = part(0.5, full(8, 8))
    for parts in ([], [replace(fine, bag=replace(fine.bag, mpp=()))], [replace(fine, extent=(0.0, 1.0))]):
        with pytest.raises(BagError, match="must be of one zoom"):
            merge_zooms(parts)
    with pytest.raises(BagError, match="different ones"):
        merge_zooms([fine, fine])


@pytest.mark.parametrize("scales", [(), (2.0, 0.5)])
def test_a_plan_is_finest_first(scales: tuple[float, ...]) -> None:
    with pytest.raises(BagError, match="finest first"):
        ZoomPlan(tuple(Zoom(mpp, "e", 3) for mpp in scales))
