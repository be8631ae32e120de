"""Labelled regions: read strictly, joined to tiles, drawn in bounds, and worth in the loss what the formula says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from mil.bag import Bag
from mil.cohort.cohort import Case, Cohort
from mil.cohort.read import open_bags
from mil.cohort.write import write_bags
from mil.errors import CohortError, ExperimentError, LabelError
from mil.head import Head, HeadOutput, HeadSettings, build_head
from mil.tasks.binary import Binary
from mil.tasks.multiclass import Multiclass
from mil.tasks.multilabel import Multilabel
from mil.tasks.ordinal import Ordinal
from mil.training.region_loss import divergence, draw_tiles, region_loss
from mil.training.regions import Marks, Regions, RegionSpec, join_regions, read_regions

TASK = Binary("response")
GRID = np.array([[x, y] for y in (0, 100) for x in (0, 100, 200)])


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    path = tmp_path_factory.mktemp("regions") / "bags.npz"
    ones = np.ones((6, 2), np.float32)
    write_bags(path, [Bag(name, ones, coords=GRID) for name in ("a", "b", "c", "d", "e")])
    cases = (Case("p", "p", "", (2, 0), 1), Case("q", "q", "", (1,), 2), Case("r", "r", "", (4,), 3))  # none has d
    return Cohort(open_bags(path), cases, {})


def regions(*rows: tuple[str, int, int, str]) -> Regions:
    slides, xs, ys, labels = zip(*rows, strict=True)
    return Regions(slides, np.array([xs, ys]).T, labels)


def test_a_region_is_found_in_the_bag_of_its_case(cohort: Cohort) -> None:
    table = regions(("a", 100, 0, "1"), ("c", 200, 100, "0"), ("b", 0, 100, "1"), ("d", 0, 0, "1"), ("a", 0, 0, "0"))
    first, second, none = join_regions(table, cohort, TASK)
    assert first is not None
    assert first.tiles.tolist() == [5, 6, 7]  # slide c comes first in the case
    assert first.targets.tolist() == [[0], [0], [1]]
    assert second is not None
    assert second.tiles.tolist() == [3]
    assert none is None


def test_a_region_may_lie_anywhere_in_its_tile(cohort: Cohort) -> None:
    place = regions(("b", 199, 100, "1"))
    found = join_regions(place, cohort, TASK, 100)[1]
    assert found is not None
    assert found.tiles.tolist() == [4]
    with pytest.raises(CohortError, match=r"Row 1 .* in no tile"):
        join_regions(place, cohort, TASK, 99)
    with pytest.raises(CohortError, match=r"Row 2 .* tile of an earlier row"):
        join_regions(regions(("b", 0, 0, "1"), ("b", 50, 50, "1")), cohort, TASK, 100)


def test_a_region_that_cannot_be_used_is_named_by_its_row(cohort: Cohort) -> None:
    with pytest.raises(CohortError, match=r"Row 2 .* has no bag"):
        join_regions(regions(("a", 0, 0, "1"), ("nobody", 0, 0, "1")), cohort, TASK)
    with pytest.raises(LabelError, match="Row 2"):
        join_regions(regions(("a", 0, 0, "1"), ("a", 100, 0, "maybe")), cohort, TASK)
    with pytest.raises(ExperimentError, match="one column"):
        join_regions(regions(("a", 0, 0, "1")), cohort, Multilabel(("x", "y")))


def test_the_table_is_read_strictly(tmp_path: Path) -> None:
    path = tmp_path / "regions.csv"
    path.write_text("slide,x,y,label,by\na,0,100,1,me\n")
    table = read_regions(path)
    assert (table.slides, table.places.tolist(), table.labels) == (("a",), [[0, 100]], ("1",))
    for row in ("a,0,-1,1", "a,0,1.5,1", ",0,1,1", "a,0,1,", "a,,1,1"):
        path.write_text(f"slide,x,y,label\na,0,0,1\n{row}\n")
        with pytest.raises(CohortError, match="Row 2"):
            read_regions(path)
    path.write_text("slide,x,label\na,0,1\n")
    with pytest.raises(CohortError, match="no column y"):
        read_regions(path)


@settings(max_examples=60)
@given(st.data())
def test_at_most_a_share_of_the_drawn_tiles_counts_as_annotated(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 30))
    count = data.draw(st.integers(1, size))
    marked = sorted(data.draw(st.sets(st.integers(0, size - 1), min_size=1)))
    marks = Marks(np.array(marked), np.array(marked, np.float32)[:, None])
    tiles, targets = draw_tiles(size, count, marks, np.random.default_rng(0), 0.25)
    assert len(tiles) == count
    assert (np.diff(tiles) > 0).all()
    used = ~np.isnan(targets[:, 0])
    assert used.sum() == min(len(marked), int(0.25 * count))
    assert (targets[used, 0] == tiles[used]).all()
    free = size - len(marked)
    assert np.isin(tiles, marked).sum() == max(used.sum(), count - free)  # further ones only for want of others


class Judge(Head):
    """Judges tiles one by one by their first feature, attends by their second."""

    def __init__(self, *, tell: bool) -> None:
        super().__init__(2, 1, HeadSettings())
        self.tell = tell

    def pool(self, features: Tensor, mask: Tensor, *, explain: bool) -> HeadOutput:
        attention = features[..., 1].masked_fill(~mask, -torch.inf).softmax(dim=1)
        logits = (attention * features[..., 0]).sum(dim=1, keepdim=True)
        instances = features[..., :1] if self.tell else None
        return HeadOutput(logits, None, attention if explain else None, instances if explain else None)


FEATURES = torch.tensor([
    [[2.0, 0.0], [-1.0, 1.0], [3.0, 2.0]],
    [[1.0, 0.0], [-2.0, 0.0], [9.0, 9.0]],
    [[4.0, 1.0], [0.0, 0.0], [5.0, 0.0]],
])
MASK = torch.tensor([[True, True, True], [True, True, False], [True, True, True]])
BAGS = torch.tensor([[1.0], [0.0], [float("nan")]])
NAN = float("nan")
TILES = torch.tensor([[1.0, 1.0, 0.0], [NAN, 0.0, NAN], [NAN, NAN, NAN]])[..., None]


def terms(head: Head, **weights: float) -> float:
    spec = RegionSpec(**({"instance": 0.0, "attention": 0.0, "negative": 0.0} | weights))  # type: ignore[arg-type]
    found = region_loss(head, FEATURES, MASK, task=TASK, bags=BAGS, tiles=TILES, spec=spec)
    return float(found)


@pytest.mark.parametrize("tell", [True, False], ids=["judges tiles", "bags of one"])
def test_each_term_is_that_of_the_formula(tell: bool) -> None:  # noqa: FBT001 - what is varied
    head = Judge(tell=tell)
    cross = functional.binary_cross_entropy_with_logits
    instance = cross(torch.tensor([2.0, -1, 3, -2]), torch.tensor([1.0, 1, 0, 0]))
    assert terms(head, instance=1.0) == pytest.approx(float(instance))
    assert terms(head, negative=1.0) == pytest.approx(float(cross(torch.tensor(1.0), torch.tensor(0.0))))
    attention = torch.tensor([0.0, 1, 2]).softmax(dim=0)
    wanted = -float(attention[:2].log().mean()) - np.log(2)
    assert terms(head, attention=1.0) == pytest.approx(wanted)
    together = 0.5 * terms(head, instance=1.0) + 0.1 * wanted + 0.1 * terms(head, negative=1.0)
    assert terms(head, instance=0.5, attention=0.1, negative=0.1) == pytest.approx(together)


def test_nothing_annotated_and_nothing_negative_adds_nothing() -> None:
    nothing = torch.full_like(TILES, NAN)
    found = region_loss(
        Judge(tell=True), FEATURES, MASK, task=TASK, bags=torch.ones(3, 1), tiles=nothing, spec=RegionSpec()
    )
    assert found == 0


def test_classes_without_an_order_have_no_negative_slides() -> None:
    classes, grades = Multiclass("label", (("a",), ("b",))), Ordinal("label", (("a",), ("b",)))
    nothing, lowest = torch.full_like(TILES, NAN), torch.zeros(3, 1)
    spec = RegionSpec()
    for task, some in ((classes, False), (grades, True)):
        head = build_head("mean", 2, task.outputs)
        found = region_loss(head, FEATURES, MASK, task=task, bags=lowest, tiles=nothing, spec=spec)
        assert (float(found.detach()) > 0) == some


@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=6))
def test_attention_that_lies_evenly_on_the_evidence_diverges_from_nothing(values: list[float]) -> None:
    attention = torch.tensor([values]) / sum(values)
    some = torch.tensor([[index < 2 for index in range(len(values))]])
    assert divergence(attention, some) >= -1e-6
    even = some / some.sum()
    assert divergence(even, some) == pytest.approx(0, abs=1e-6)
    assert divergence(attention, torch.zeros_like(some)) == 0


def test_annotated_tiles_teach_a_head_where_to_look() -> None:
    rng = np.random.default_rng(0)
    features = torch.from_numpy(rng.normal(size=(8, 12, 4)).astype(np.float32))
    tiles = torch.full((8, 12, 1), NAN)
    features[:, 0, 0] += 3.0  # the annotated tile of each slide stands out
    tiles[:, 0] = 1.0
    mask, bags = torch.ones(8, 12, dtype=torch.bool), torch.ones(8, 1)
    torch.manual_seed(0)
    head = build_head("abmil", 4, 1, {"dropout": 0.0})

    def looked() -> float:
        attention = head(features, mask, explain=True).attention
        assert attention is not None
        return float(attention[:, 0].detach().mean())

    before = looked()
    for _ in range(30):
        loss = region_loss(head, features, mask, task=TASK, bags=bags, tiles=tiles, spec=RegionSpec(attention=1.0))
        weights = [weight for weight in head.parameters() if weight.requires_grad]
        for weight, slope in zip(weights, torch.autograd.grad(loss, weights), strict=True):
            weight.data.sub_(slope)
    assert looked() > max(0.5, 2 * before)


@pytest.mark.parametrize("values", [{"instance": -1.0}, {"tile": 0}, {"share": 0.0}, {"share": 1.0}], ids=str)
def test_weights_that_mean_nothing_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ExperimentError, match="Regions need"):
        RegionSpec(**values)  # type: ignore[arg-type] # all are numbers
