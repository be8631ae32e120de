"""What an index can be searched with: words, tiles, slides; and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from foundation import TISSUES, Embeddings, TextEncoder, TissueHead, load_encoder
from foundation.errors import ContractError, PromptError, QueryError, UnknownTermError
from foundation.index import (
    IndexSlide,
    SearchIndex,
    by_embeddings,
    by_slide,
    by_text,
    by_tile,
    grow,
    search,
)
from foundation.testing import TINY_PAIR, write_embeddings, write_tiny_pair

TINY = {"key": "tiny", "family": "f", "weights_digest": "w", "preprocessing_digest": "p"}


def slide(
    folder: Path, number: int, encoder: dict[str, Any] = TINY, dim: int = 8, columns: dict[str, str] | None = None
) -> IndexSlide:
    rows = np.random.default_rng(number).normal(size=(12 + number, dim))
    made = write_embeddings(folder, {0.5: rows, 1.0: rows[:3]}, encoder, content=f"{number:064x}")
    return IndexSlide(f"S-{number}", made.path, columns or {"grade": str(number % 3)})


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> list[IndexSlide]:
    folder = tmp_path_factory.mktemp("e")
    return [slide(folder, number) for number in (1, 2, 3)]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, slides: list[IndexSlide]) -> Path:
    path = tmp_path_factory.mktemp("i") / "i"
    grow(path, slides)
    return path


@pytest.fixture(scope="module")
def builtin(tmp_path_factory: pytest.TempPathFactory) -> tuple[SearchIndex, NDArray[np.float32]]:
    folder = tmp_path_factory.mktemp("b")
    made_by = {"family": "builtin", **TissueHead.load().card["encoder"]}
    rows = np.random.default_rng(4).normal(0, 0.3, (90, 1280)).clip(0)
    made = write_embeddings(folder / "e", {0.5: rows}, made_by)
    grow(folder / "i", [IndexSlide("S", made.path)])
    return SearchIndex.open(folder / "i"), TissueHead.load().shares(made.features(0.5))


@pytest.mark.parametrize(("text", "tissue"), [("lymphocytes", "immune_cells"), ("Fat", "adipose")])
def test_words_of_the_closed_vocabulary_find_tissue(
    builtin: tuple[SearchIndex, NDArray[np.float32]], text: str, tissue: str
) -> None:
    index, shares = builtin
    found = search(index, by_text(index, text), 10, slides=True)
    share = shares[:, TISSUES.index(tissue)]
    assert found.meaning == tissue
    assert found.note.startswith("Closed vocabulary")
    assert [hit.row for hit in found.hits] == list(np.argsort(-share, kind="stable")[:10])
    assert [hit.score for hit in found.hits] == [float(share[hit.row]) for hit in found.hits]
    assert found.slides[0].score == pytest.approx(np.sort(share)[-10:].mean())


def test_words_outside_the_closed_vocabulary_are_refused(builtin: tuple[SearchIndex, NDArray[np.float32]]) -> None:
    with pytest.raises(UnknownTermError, match="closed vocabulary"):
        by_text(builtin[0], "lymphocytes infiltrating tumour nests")
    for wrong in ("", "fat\x1b[2J", "f" * 201):
        with pytest.raises(PromptError):
            by_text(builtin[0], wrong)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> TextEncoder:
    encoder = load_encoder(TINY_PAIR, write_tiny_pair(tmp_path_factory.mktemp("pair")))
    assert isinstance(encoder, TextEncoder)
    return encoder


def test_words_find_tiles_by_the_pair_that_made_them(pair: TextEncoder, tmp_path: Path) -> None:
    digests = {"weights_digest": pair.weights_digest, "preprocessing_digest": pair.preprocessing_digest}
    made_by = {"key": pair.spec.key, "family": pair.spec.family, **digests}
    made = slide(tmp_path / "e", 1, made_by, pair.spec.dim)
    grow(tmp_path / "i", [made])
    index = SearchIndex.open(tmp_path / "i")
    query = by_text(index, "a mitosis", pair)
    assert query.vector is not None
    found = search(index, query, 5)
    cosines = index.rows(np.arange(13)).astype(float) @ query.vector
    assert [hit.row for hit in found.hits] == list(np.argsort(-cosines)[:5])
    assert found.warnings == ()
    assert "negation" in search(index, by_text(index, "no mitosis", pair), 5).warnings[0]
    with pytest.raises(ContractError, match="text side of 'open_clip"):
        by_text(index, "fat")
    with pytest.raises(ContractError, match="no text side"):
        by_text(index, "fat", load_encoder("builtin"))
    grow(tmp_path / "j", [slide(tmp_path / "e", 2)])
    with pytest.raises(ContractError, match="made by encoder 'tiny'"):
        by_text(SearchIndex.open(tmp_path / "j"), "fat", pair)


def test_tiles_and_slides_find_their_like(index: Path, slides: list[IndexSlide], tmp_path: Path) -> None:
    opened = SearchIndex.open(index)
    hit = search(opened, by_tile(opened, "S-2", 448 * 3 + 447, 448 + 5), 1).hits[0]
    assert (hit.slide, hit.x, hit.y) == ("S-2", 448 * 3, 448)
    assert hit.score == pytest.approx(1, abs=1e-3)
    with pytest.raises(QueryError, match="No tile of that slide"):
        by_tile(opened, "S-2", 10**9, 0)
    with pytest.raises(QueryError, match="no slide 'S-9'"):
        by_tile(opened, "S-9", 0, 0)
    mine, given = by_slide(opened, "S-3"), by_embeddings(opened, Embeddings.open(slides[2].embeddings))
    assert mine.vector is not None
    assert given.vector is not None
    assert np.allclose(mine.vector, given.vector)
    found = search(opened, mine, 50, without={"S-3"})
    assert {hit.slide for hit in found.hits} == {"S-1", "S-2"}
    other = slide(tmp_path / "o", 4, {**TINY, "key": "other"})
    with pytest.raises(ContractError, match="not by 'other'"):
        by_embeddings(opened, Embeddings.open(other.embeddings))


def test_an_answer_is_a_document(index: Path) -> None:
    opened = SearchIndex.open(index)
    document = search(opened, by_slide(opened, "S-1"), 3, slides=True).to_json()
    assert [hit["rank"] for hit in document["hits"]] == [1, 2, 3]
    assert document["exact"] is True
    assert document["searched"] == {"slides": 3, "tiles": 42}
    assert len(document["slides"]) == 3
    assert "research use only" in document["notice"].lower()
