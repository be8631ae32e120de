"""Maps lie where the slide says, and the page is whole, safe and says what it must."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from biomarkers import Score, load_card
from biomarkers.card import Biomarker
from biomarkers.composition import measure
from biomarkers.pipeline import SLIDE_FACTS
from biomarkers.reading import Reading
from biomarkers.report.colours import CLASS_COLOURS, rgb
from biomarkers.report.evidence import Evidence, gather
from biomarkers.report.maps import tissue_view
from biomarkers.report.page import render
from biomarkers.score import Gate
from foundation import TISSUES
from slides import Address, Region
from slides.testing import write_slide
from tiling import TileGrid, TileStore, tile


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    card: Biomarker
    store: TileStore
    grid: TileGrid
    reading: Reading
    evidence: Evidence
    score: Score


def case_of(folder: Path, name: str) -> Case:
    card = load_card(name)
    address = Address.of(write_slide(folder / "Doe^Jane-1970.svs", size=(2600, 1700), mpp=0.5, seed=3))
    store = tile(address, card.specs, folder / "stages", keep="no")
    grid = store.grid(card.zooms[0])
    shares = np.random.default_rng(0).dirichlet(np.full(12, 0.3), len(grid)).astype(np.float32)
    head = {"name": "tissue", "digest": "d" * 64}
    if name == "tissue-composition":
        measures = {"surrogate": card.surrogate, **measure(grid, shares, TISSUES, card.cells)}
        reading = Reading(
            0.25,
            measures,
            shares[:, 2],
            "immune share of the tile",
            diverging=False,
            head=head,
            shares=shares,
            names=TISSUES,
        )
    else:
        label = "contribution of the tile to the logit"
        measures = {"logit": 1.1, "faithfulness": 0.52, "faithfulness_random": -0.01, "faithfulness_random_sd": 0.2}
        reading = Reading(0.75, measures, shares[:, 2] - 0.2, label, diverging=True, head=head)
    evidence = gather(address, store, grid, reading)
    info = store.info
    score = Score(
        score=reading.score,
        category=card.category(reading.score),
        biomarker=card.reference,
        slide={"id": info.pseudonym, **{key: info.to_json()[key] for key in SLIDE_FACTS}},
        tiles={f"{card.zooms[0]:g}": len(grid)},
        gates=(Gate("tissue", 1.0, 0.5, "mm2"), Gate("tiles", float(len(grid)), 20.0)),
        measures=reading.measures,
        seconds=1.0,
        provenance={
            "slide": info.content_hash, "tiles": store.fingerprint, "embeddings": "e" * 64, "head": head,
            "card": card.digest(),
            "encoder": {"key": "builtin", "weights_digest": "w" * 64, "preprocessing_digest": "p" * 64},
            "score": "s" * 64, "created": "2030-01-01 00:00 UTC", "versions": {"oncoscope": "1", "numpy": "2"},
        },
        files={"report_html": "report.html"},
        notice=card.notice,
    )  # fmt: skip
    return Case(card, store, grid, reading, evidence, score)


@pytest.fixture(scope="module")
def composition(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return case_of(tmp_path_factory.mktemp("composition"), "tissue-composition")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return case_of(tmp_path_factory.mktemp("demo"), "demo-response")


def page_of(case: Case) -> str:
    return render(case.score, case.card, case.evidence)


class Links(HTMLParser):
    """Everything in a page that a browser would load, follow or run."""

    def __init__(self) -> None:
        super().__init__()
        self.references: list[str] = []
        self.tags: list[str] = []
        self.handlers: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [
            value or "" for name, value in attributes if name in {"src", "href", "action", "data", "srcset"}
        ]
        self.handlers += [name for name, _ in attributes if name.startswith("on")]


@pytest.mark.parametrize("which", ["composition", "demo"])
def test_the_page_needs_nothing_from_outside_and_runs_nothing(which: str, request: pytest.FixtureRequest) -> None:
    page = page_of(request.getfixturevalue(which))
    links = Links()
    links.feed(page)
    assert links.references
    assert all(re.fullmatch(r"data:image/(png|jpeg);base64,[A-Za-z0-9+/=]+", link) for link in links.references)
    assert not {"script", "link", "iframe", "object", "form", "base"} & set(links.tags)
    assert not links.handlers
    assert "default-src 'none'" in page
    assert "@import" not in page
    assert "url(" not in page


def test_the_page_says_what_it_must(composition: Case, demo: Case) -> None:
    page = page_of(composition)
    assert "Research use only. Not for diagnosis." in page
    assert "demonstration" not in page.lower()
    for text in (
        "25.0",
        "published cut-offs not transferable",
        "tumour-stroma ratio",
        composition.store.info.pseudonym,
    ):
        assert text in page
    assert all(limit in page.replace("&#39;", "'") for limit in composition.card.limits)
    assert all(digest in page for digest in ("s" * 64, "e" * 64, "w" * 64, composition.store.fingerprint))
    page = page_of(demo)
    assert page.lower().count("demonstration") >= 3
    assert "planted signal likely" in page
    assert "Faithfulness 0.52 (random maps −0.01 ± 0.2)" in page
    assert "Faithfulness" not in page_of(composition)


def test_no_file_name_is_in_the_page(composition: Case) -> None:
    assert "Doe^Jane" not in page_of(composition)


def test_what_varies_is_escaped(composition: Case) -> None:
    card = dataclasses.replace(composition.card, title="<script>alert(1)</script>", limits=('"><img src=x>',))
    slide = {**composition.score.slide, "warnings": ["<b>bold</b>"]}
    page = page_of(
        dataclasses.replace(composition, card=card, score=dataclasses.replace(composition.score, slide=slide))
    )
    links = Links()
    links.feed(page)
    assert "script" not in links.tags
    assert "<b>bold" not in page
    assert "x" not in links.references


def test_a_page_without_cells_and_ratio_is_written_too(composition: Case) -> None:
    measures = {**composition.score.measures, "tumour_stroma_ratio": None}
    grid = measures["immune_grid"]
    assert isinstance(grid, dict)
    measures["immune_grid"] = {**grid, "cells": 0, "places": [], "min": None, "median": None, "max": None}
    page = page_of(dataclasses.replace(composition, score=dataclasses.replace(composition.score, measures=measures)))
    assert "No grid cell held enough tissue" in page
    assert "nan" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", page).lower().replace("provenance", "")


def test_maps_have_the_geometry_of_the_thumbnail(composition: Case) -> None:
    whole = composition.evidence.whole
    assert whole.image.shape[:2] == whole.heat.shape[:2] == whole.view.shape
    assert whole.classes is not None
    assert whole.classes.shape == whole.heat.shape
    assert max(whole.view.shape) <= 1280


def test_every_tile_is_drawn_where_it_lies(composition: Case) -> None:
    """At the centre of each tile stands its colour, and just outside of the tissue nothing does."""
    grid, reading = composition.grid, composition.reading
    assert reading.shares is not None
    for layers in (composition.evidence.whole, composition.evidence.tissue):
        region, (height, width) = layers.view.region, layers.view.shape
        centre = grid.coords + np.array(grid.extent) / 2
        x = ((centre[:, 0] - region.x) * width / region.width).astype(int)
        y = ((centre[:, 1] - region.y) * height / region.height).astype(int)
        inside = (x < width) & (y < height)  # a tile at the slide's edge may have its centre beyond it
        assert inside.sum() > 10
        colours = np.array([rgb(CLASS_COLOURS[TISSUES[c]]) for c in reading.shares.argmax(axis=1)])
        assert layers.classes is not None
        assert (layers.classes[y[inside], x[inside], :3] == colours[inside]).all()
        assert (layers.classes[y[inside], x[inside], 3] == 255).all()
        assert ((layers.heat[..., 3] == 255) == (layers.classes[..., 3] == 255)).all()


def test_the_view_holds_all_tiles_and_no_more_than_the_slide(composition: Case) -> None:
    grid, size = composition.grid, composition.store.info.size
    view = tissue_view(grid, size, 300)
    assert max(view.shape) == 300
    assert view.region.clipped(Region.whole(size)) == view.region
    low, high = grid.coords.min(axis=0), np.minimum(grid.coords.max(axis=0) + grid.extent, (size.width, size.height))
    assert (view.region.x, view.region.y) <= (low[0], low[1])
    assert view.region.right >= high[0] - 1
    assert view.region.bottom >= high[1] - 1


def test_shown_tiles_are_cut_from_the_slide_at_their_place(composition: Case) -> None:
    evidence = composition.evidence
    assert len(evidence.top) == len(evidence.bottom) == 10
    assert [tile.value for tile in evidence.top] == sorted((tile.value for tile in evidence.top), reverse=True)
    assert evidence.top[0].value == composition.reading.heat.max()
    view, image = evidence.whole.view, evidence.whole.image
    factor = view.region.width / view.shape[1]
    shown = evidence.top[0]
    small = image[
        int(shown.y / factor) : int((shown.y + 224) / factor), int(shown.x / factor) : int((shown.x + 224) / factor)
    ]
    assert np.abs(small.mean(axis=(0, 1)) - shown.image[: small.shape[0] * 2].mean(axis=(0, 1))).max() < 12
