"""Ask by example: tiles, places and regions stand for what is meant, and the spread of the examples is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from foundation import Embeddings, Examples, PromptError, Question, ask
from foundation.asking import WHOLE_TILES
from foundation.examples import chosen, prototype
from foundation.testing import write_embeddings
from slides import Address, Region, Size, SlideInfo, open_slide
from slides.testing import write_slide

MADE_BY = {"key": "any", "family": "timm", "weights_digest": "1" * 64, "preprocessing_digest": "2" * 64}
KIND = np.arange(200) % 4 == 0
"""Every fourth tile is of the kind that is looked for."""


@pytest.fixture(scope="module")
def info(tmp_path_factory: pytest.TempPathFactory) -> SlideInfo:
    path = write_slide(tmp_path_factory.mktemp("slide") / "one.svs", size=(300, 300), kind="glass", mpp=0.25)
    with open_slide(Address.of(path)) as slide:
        return replace(slide.info, size=Size(9000, 18000), bounds=Region(0, 0, 9000, 18000))


@pytest.fixture(scope="module")
def rows() -> NDArray[np.float64]:
    rng = np.random.default_rng(3)
    common, kind = rng.normal(size=(2, 32))
    return np.asarray(rng.normal(size=(200, 32)) * 0.5 + common + KIND[:, None] * kind)


@pytest.fixture
def slide(tmp_path: Path, rows: NDArray[np.float64], info: SlideInfo) -> Embeddings:
    """Tiles of 896 level-0 pixels, ten in a row."""
    found = write_embeddings(tmp_path, {1.0: rows}, MADE_BY)
    found.slide = info.to_json()
    return found


def box(left: int, top: int, right: int, bottom: int, **properties: object) -> dict[str, Any]:
    ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    feature = {"type": "Feature", "geometry": geometry, "properties": properties}
    return {"type": "FeatureCollection", "features": [feature]}


def test_examples_find_their_kind(slide: Embeddings) -> None:
    answer = ask(slide, Question(like=Examples(tiles=(0, 4, 8, 12, 16))))
    (one,) = answer.prompts
    inside, outside = one.raw[KIND], one.raw[~KIND]
    assert (inside[:, None] > outside[None]).mean() > 0.98
    assert one.probability[KIND].mean() > 0.7
    assert one.probability[~KIND].mean() < 0.3
    assert (one.prompt, one.share_area_mm2, answer.closed_vocabulary) == ("examples", None, False)
    assert answer.note.startswith("By example")


def test_the_prototype_is_the_mean_and_the_spread_leaves_each_out(slide: Embeddings) -> None:
    at = [0, 4, 8]
    made = prototype(slide, 1.0, Examples(tiles=tuple(at)), Examples())
    unit = slide.features(1.0).astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    mean = unit[at].mean(axis=0)
    assert np.allclose(made.query.vector, mean / np.linalg.norm(mean), atol=1e-6)
    average = unit.mean(axis=0) / np.linalg.norm(unit.mean(axis=0))
    left_out = []
    for one in at:
        others = unit[[k for k in at if k != one]].mean(axis=0)
        left_out.append(float(unit[one] @ others / np.linalg.norm(others)))
    assert np.allclose(made.left_out, left_out, atol=1e-6)
    margin = np.mean(left_out) - (unit[at] @ average).mean()
    assert made.logit_scale == pytest.approx(np.log(9) / margin, rel=1e-4)
    spread = made.to_json()["leave_one_out"]
    assert spread["mean"] == pytest.approx(np.mean(left_out), abs=1e-4)
    assert spread["std"] == pytest.approx(np.std(left_out, ddof=1), abs=1e-4)
    assert prototype(slide, 1.0, Examples(tiles=(4,)), Examples()).to_json()["leave_one_out"] is None


def test_what_is_not_meant_lowers_its_like(slide: Embeddings) -> None:
    plain = ask(slide, Question(like=Examples(tiles=(0, 4, 8)))).prompts[0]
    against = ask(slide, Question(like=Examples(tiles=(0, 4, 8)), not_like=Examples(tiles=(12,)))).prompts[0]
    assert np.array_equal(plain.raw, against.raw)
    assert (against.probability <= plain.probability).all()
    assert against.probability[12] < plain.probability[12] / 1.5


def test_tiles_are_told_by_number_place_and_region(slide: Embeddings) -> None:
    told = Examples(tiles=(7, 7), places=((895.9, 0.0), (896.0, 900.0)))
    assert chosen(told, slide, 1.0) == (7, 0, 11)
    region = box(900, 900, 2700, 1800, classification={"name": "Tumor"})  # middles of tiles 11 and 12
    assert chosen(Examples(regions=(region,)), slide, 1.0) == (11, 12)


@pytest.mark.parametrize(
    "examples",
    [
        Examples(tiles=(200,)),
        Examples(tiles=(-1,)),
        Examples(places=((-1.0, 5.0),)),
        Examples(places=((float("nan"), 5.0),)),
        Examples(regions=({},)),
        Examples(regions=({"type": "FeatureCollection", "features": [3]},)),
        Examples(regions=({"type": "FeatureCollection", "features": []},)),
        Examples(regions=(box(0, 0, 100, 100),)),
        Examples(regions=(box(0, 0, 10**6, 100),)),
    ],
)
def test_examples_that_are_no_tiles_are_refused(examples: Examples, slide: Embeddings) -> None:
    with pytest.raises(PromptError):
        ask(slide, Question(like=examples))


def test_examples_that_contradict_themselves_are_refused(slide: Embeddings) -> None:
    with pytest.raises(PromptError, match="both"):
        ask(slide, Question(like=Examples(tiles=(1, 2)), not_like=Examples(tiles=(2,))))
    rows = np.eye(200, 210)
    rows[:, 200:] = 1
    rows[:2, 200:] = [[1] * 5 + [-1] * 5, [-1] * 5 + [1] * 5]  # further from each other than from the average
    odd = write_embeddings(slide.path.parent / "odd", {1.0: rows}, MADE_BY)
    with pytest.raises(PromptError, match="no more like each other"):
        ask(odd, Question(like=Examples(tiles=(0, 1))))


def test_areas_of_imported_tiles_count_whole_tiles(slide: Embeddings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Embeddings, "tissue", lambda *_: np.full(200, np.nan, np.float32))
    answer = ask(slide, Question(like=Examples(tiles=(0, 4, 8))))
    assert answer.prompts[0].area_mm2 == pytest.approx(answer.prompts[0].share * 200 * 0.224**2)
    assert answer.warnings == (WHOLE_TILES,)
