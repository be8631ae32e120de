"""Classes, what is not meant, screening and background banks: by numbers that are worked out here by other means."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from safetensors.numpy import save_file

from foundation import (
    ContractError,
    Embeddings,
    EmbeddingsError,
    PromptError,
    Question,
    TextEncoder,
    TissueHead,
    ask,
    load_encoder,
    make_bank,
    read_bank,
    read_prompt_set,
    write_bank,
)
from foundation.bank import Bank
from foundation.prompt_set import PromptSet, shipped_set
from foundation.query import lone_queries, set_queries, spelled, unit
from foundation.screening import screened
from foundation.slide_score import TOP, best_of, spread_out
from foundation.testing import TINY_PAIR, TINY_TIMM, write_embeddings, write_tiny_pair, write_tiny_timm

TEXT = """
title = "T"
templates = ["{}.", "an image of {}."]
contrast = ["glass"]
[[class]]
name = "tumour"
synonyms = ["carcinoma", "malignant cells"]
unlike = ["gland"]
[[class]]
name = "necrosis"
[[class]]
name = "stroma"
synonyms = ["collagen"]
background = true
"""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> TextEncoder:
    encoder = load_encoder(TINY_PAIR, write_tiny_pair(tmp_path_factory.mktemp("pair")))
    assert isinstance(encoder, TextEncoder)
    return encoder


@pytest.fixture(scope="module")
def asked() -> PromptSet:
    return read_prompt_set(TEXT)


def made_by(encoder: TextEncoder) -> dict[str, Any]:
    digests = {"weights_digest": encoder.weights_digest, "preprocessing_digest": encoder.preprocessing_digest}
    return {"key": encoder.spec.key, "family": encoder.spec.family, **digests}


def stored(out: Path, pair: TextEncoder, seed: int = 8, tiles: int = 300, content: str = "0") -> Embeddings:
    rows = np.random.default_rng(seed).normal(size=(tiles, pair.spec.dim))
    found = write_embeddings(out / content, {1.0: rows}, made_by(pair))
    found.slide = {**found.slide, "content_hash": content * 64}
    return found


def plain(embeddings: Embeddings) -> NDArray[np.float64]:
    rows = embeddings.features(1.0).astype(np.float64)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def test_classes_are_weighed_against_each_other(pair: TextEncoder, asked: PromptSet, tmp_path: Path) -> None:
    embeddings = stored(tmp_path, pair)
    answer = ask(embeddings, Question(classes=asked), encoder=pair)
    texts = {}
    for words in (*(one.words for one in asked.classes), ("glass",), ("gland",)):
        each = pair.encode_text([template.replace("{}", word) for word in words for template in asked.templates])
        texts[words[0]] = each.astype(np.float64).mean(axis=0)
    rows, names = plain(embeddings), [*texts]
    cosine = rows @ np.stack([texts[name] / np.linalg.norm(texts[name]) for name in names]).T
    for k, one in enumerate(answer.prompts):
        at = [names.index(name) for name in ("tumour", "necrosis", "stroma", "glass", *(["gland"] if k == 0 else []))]
        powers = np.exp(pair.logit_scale * cosine[:, at])
        assert np.allclose(one.raw, cosine[:, k], atol=1e-5)
        assert np.allclose(one.probability, powers[:, k] / powers.sum(axis=1), atol=1e-5)
        wins = cosine[:, at].argmax(axis=1) == k
        assert one.share == pytest.approx(wins.mean())
        assert one.area_mm2 == pytest.approx(wins.sum() * 0.224**2)
        assert one.raw_score == pytest.approx(np.sort(cosine[:, k])[-10:].mean(), abs=1e-5)
    sought = answer.prompts[:2]
    assert answer.choice is not None
    assert answer.choice.by_top_k == max(sought, key=lambda one: one.raw_score).prompt
    assert answer.choice.by_share == max(sought, key=lambda one: one.share).prompt
    assert sum(answer.choice.shares.values()) == pytest.approx(1)
    assert "stroma" not in answer.choice.shares
    json.dumps(answer.to_json(), allow_nan=False)


def test_what_is_not_meant_joins_the_rivals(pair: TextEncoder, tmp_path: Path) -> None:
    embeddings = stored(tmp_path, pair)
    alone = ask(embeddings, ["a mitosis"], encoder=pair).prompts[0]
    less = ask(embeddings, Question(("a mitosis",), unlike=("apoptosis",)), encoder=pair).prompts[0]
    assert (less.probability < alone.probability).all()
    assert np.array_equal(less.raw, alone.raw)
    (query,) = lone_queries(pair, ["a mitosis"], ["apoptosis"])
    found, away = query.search_vector(), query.unlike[0]
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-6)
    assert found @ away < query.vector @ away


def test_negation_and_numbers_warn_where_words_are_free(pair: TextEncoder, tmp_path: Path) -> None:
    answer = ask(stored(tmp_path, pair), ["no necrosis", "five mitoses"], encoder=pair)
    assert [warning.split(" holds ")[0] for warning in answer.warnings] == ["Prompt 1", "Prompt 2"]
    assert answer.to_json()["warnings"] == list(answer.warnings)


def test_screening_scores_wordings_as_keep_does(
    pair: TextEncoder, asked: PromptSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foundation.screening.KEPT", 5)
    embeddings = stored(tmp_path, pair)
    rows = plain(embeddings)
    found = screened(pair, asked, embeddings.features(1.0))
    texts = [spelled(pair, one.words, asked.templates).astype(np.float64) for one in asked.classes]
    scores = []
    for wording in found.kept:
        template, words = wording.split(": ", 1)
        t = asked.templates.index(template)
        vectors = [texts[c][asked.classes[c].words.index(word), t] for c, word in enumerate(words.split(", "))]
        first, second = np.sort(rows @ np.stack(vectors).T, axis=1)[:, :-3:-1].T
        scores.append((first - second - np.abs(first + second - 1)).mean())
    assert len(found.scores) == 2 * 3 * 2  # every template with every choice of words
    assert np.allclose(scores, found.scores[:5], atol=1e-5)
    assert scores == sorted(scores, reverse=True)
    answer = ask(embeddings, Question(classes=asked, screen=True), encoder=pair)
    assert np.allclose(answer.prompts[0].raw, rows @ found.classes[0], atol=1e-5)
    assert answer.screening == found.to_json()
    assert not np.allclose(found.classes, np.stack([query.vector for query in set_queries(pair, asked)]))


def test_the_closed_vocabulary_takes_classes_and_no_more(tmp_path: Path) -> None:
    rows = np.random.default_rng(4).normal(0, 0.3, (60, 1280)).clip(0)
    made = {"family": "builtin", **TissueHead.load().card["encoder"]}
    embeddings = write_embeddings(tmp_path, {0.5: rows}, made)
    classes = read_prompt_set(TEXT.replace('"malignant cells"', '"DCIS"'))
    answer = ask(embeddings, Question(classes=classes))
    shares = TissueHead.load().shares(embeddings.features(0.5))
    names = list(TissueHead.load().names)
    both = shares[:, [names.index("tumour"), names.index("in_situ")]].sum(axis=1)
    assert answer.prompts[0].meaning == "tumour, in_situ"
    assert np.allclose(answer.prompts[0].probability, both)
    assert answer.closed_vocabulary
    assert answer.choice is not None
    assert ask(embeddings, Question(classes=shipped_set("breast-tissue"))).warnings == ()
    for wrong in (Question(("fat",), unlike=("muscle",)), Question(classes=classes, screen=True)):
        with pytest.raises(PromptError, match="closed vocabulary"):
            ask(embeddings, wrong)


@pytest.fixture
def bank(pair: TextEncoder, tmp_path: Path) -> Bank:
    return make_bank([stored(tmp_path, pair, seed, content=f"{seed}") for seed in (1, 2, 3, 4)])


def test_a_bank_says_where_a_slide_stands(pair: TextEncoder, bank: Bank, tmp_path: Path) -> None:
    write_bank(bank, tmp_path / "a" / "bank.safetensors")
    again = read_bank(tmp_path / "a" / "bank.safetensors")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["bank.safetensors"]
    assert (again.slides, again.encoder, again.mpp) == (bank.slides, bank.encoder, bank.mpp)
    embeddings = stored(tmp_path, pair, 1, content="1")  # one of the bank: not compared with itself
    answer = ask(embeddings, ["a mitosis"], encoder=pair, bank=again)
    (one,) = answer.prompts
    (query,) = lone_queries(pair, ["a mitosis"])
    others = [unit(again.features[again.slide == k]) @ query.vector for k in range(1, 4)]
    reference = np.concatenate(others)
    assert one.against_bank is not None
    assert np.allclose(one.against_bank.tiles, [100 * (reference < raw).mean() for raw in one.raw], atol=0.4)
    assert one.against_bank.slide == pytest.approx(100 * np.mean([best_of(raw) < one.raw_score for raw in others]))
    assert (one.against_bank.bank_tiles, one.against_bank.bank_slides) == (900, 3)
    assert json.loads(json.dumps(answer.to_json()))["prompts"][0]["against_bank"]["slides"] == 3


def test_a_bank_takes_tiles_evenly_and_a_slide_once(pair: TextEncoder, tmp_path: Path) -> None:
    one = stored(tmp_path, pair)
    found = make_bank([one, one], tiles=100)
    assert found.slides == ("0" * 64,)
    assert np.array_equal(found.features, one.features(1.0)[::3])


def test_only_what_belongs_together_is_compared(pair: TextEncoder, bank: Bank, tmp_path: Path) -> None:
    embeddings = stored(tmp_path, pair)
    other = replace(bank, encoder={**bank.encoder, "weights_digest": "0" * 64})
    coarse = replace(bank, mpp=2.0)
    alone = replace(bank, slides=("0" * 64,) * 4)
    for wrong in (other, coarse, alone):
        with pytest.raises(ContractError):
            ask(embeddings, ["a mitosis"], encoder=pair, bank=wrong)
    stranger = stored(tmp_path, pair, 5, content="5")
    stranger.encoder = {**stranger.encoder, "key": "other"}
    with pytest.raises(ContractError, match="made by 'other'"):
        make_bank([embeddings, stranger])
    with pytest.raises(ContractError):
        make_bank([])


def test_a_damaged_bank_is_refused(bank: Bank, tmp_path: Path) -> None:
    path = tmp_path / "bank"
    write_bank(bank, path)
    whole = path.read_bytes()
    for damaged in (b"", whole[:50], whole[:-1], b"\xff" * 100):
        path.write_bytes(damaged)
        with pytest.raises(EmbeddingsError):
            read_bank(path)
    with pytest.raises(EmbeddingsError):
        read_bank(tmp_path / "none")
    write_bank(replace(bank, slide=bank.slide + 100), path)
    with pytest.raises(EmbeddingsError):
        read_bank(path)
    save_file({"features": bank.features, "slide": bank.slide}, path, metadata={"about": "{}"})
    with pytest.raises(EmbeddingsError):
        read_bank(path)


def test_an_encoder_without_a_text_side_cannot_be_asked_with_words(tmp_path: Path) -> None:
    from foundation.query import text_side

    with pytest.raises(ContractError, match="no text side"):
        text_side(load_encoder(TINY_TIMM, write_tiny_timm(tmp_path / "weights.safetensors")))


@settings(max_examples=25)
@given(arrays(np.float32, st.integers(1, 70), elements=st.floats(0, 1, width=32)), st.integers(0, 9))
def test_tiles_to_show_are_probable_and_apart(probability: NDArray[np.float32], seed: int) -> None:
    rng = np.random.default_rng(seed)
    coords = rng.integers(0, 2000, (len(probability), 2))
    shown = spread_out(probability, rng.normal(size=(len(probability), 4)), coords, (100.0, 100.0))
    assert 1 <= len(shown) <= TOP
    assert probability[shown[0]] == probability.max()
    assert list(probability[list(shown)]) == sorted(probability[list(shown)], reverse=True)
    for i, one in enumerate(shown):
        assert all(np.abs(coords[one] - coords[other]).max() >= 100 for other in shown[:i])


def test_tiles_to_show_are_not_all_alike() -> None:
    features = np.zeros((60, 8), np.float32)
    features[:, 0] = 1
    features[40:, 1] = 1  # a second kind, a little less probable
    probability = np.linspace(1, 0.99, 60).astype(np.float32)
    coords = np.stack([np.arange(60) * 100, np.zeros(60, int)], axis=1)
    shown = spread_out(probability, features, coords, (100.0, 100.0))
    assert {index >= 40 for index in shown} == {True, False}
