"""Prompts: the closed vocabulary refuses what it does not know, and an answer adds up."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from foundation import (
    TISSUES,
    Answer,
    ContractError,
    Embeddings,
    PromptError,
    RegistryError,
    TextEncoder,
    TissueHead,
    UnknownTermError,
    ask,
    load_encoder,
)
from foundation.prompts import contrast_set, known_terms, read_contrast, read_vocabulary, tissue_of
from foundation.query import text_features
from foundation.registry import DEFAULT_ENCODER
from foundation.testing import TINY_PAIR, write_embeddings, write_tiny_pair

N = 1203


@pytest.fixture(scope="module")
def features() -> NDArray[np.float32]:
    return np.random.default_rng(4).normal(0, 0.3, (N, 1280)).clip(0).astype(np.float32)


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory, features: NDArray[np.float32]) -> Embeddings:
    made_by = {"family": "builtin", **TissueHead.load().card["encoder"]}
    return write_embeddings(
        tmp_path_factory.mktemp("e"), {0.5: features, 1.0: features[:4], 2.0: features[:2]}, made_by
    )


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> TextEncoder:
    encoder = load_encoder(TINY_PAIR, write_tiny_pair(tmp_path_factory.mktemp("pair")))
    assert isinstance(encoder, TextEncoder)
    return encoder


def made_by(encoder: TextEncoder) -> dict[str, str]:
    digests = {"weights_digest": encoder.weights_digest, "preprocessing_digest": encoder.preprocessing_digest}
    return {"key": encoder.spec.key, "family": encoder.spec.family, **digests}


@pytest.mark.parametrize(
    ("prompt", "tissue"),
    [
        ("tumour", "tumour"),
        ("Tumor", "tumour"),
        ("tumor-infiltrating  LYMPHOCYTES", "immune_cells"),
        ("TILs", "immune_cells"),
        ("immune_cells", "immune_cells"),
        ("the hemorrhage", "haemorrhage"),
        ("Blood vessels", "vessel"),
        ("capillaries", "vessel"),
        ("carcinoma in-situ", "in_situ"),
        ("fat", "adipose"),
        ("muscle fibers", "muscle"),
    ],
)
def test_people_write_differently(prompt: str, tissue: str) -> None:
    assert tissue_of(prompt) == tissue


def test_every_known_term_is_known() -> None:
    assert {tissue_of(term) for term in known_terms()} == {tissue_of(name) for name in TISSUES} == set(TISSUES)


@pytest.mark.parametrize(
    ("prompt", "near"),
    [
        ("lymphocytes infiltrating tumour nests", "tumour nests"),
        ("no tumour", "tumour"),
        ("necrossis", "necrosis"),
        ("опухоль", "nearest known terms"),
        ("cartilage", "nearest known terms"),
        ("<script>", "nearest known terms"),
    ],
)
def test_an_unknown_word_is_refused_with_the_nearest(prompt: str, near: str) -> None:
    with pytest.raises(UnknownTermError, match=near):
        tissue_of(prompt)


@given(st.text(min_size=1, max_size=40))
def test_a_prompt_is_known_or_refused(prompt: str) -> None:
    try:
        assert tissue_of(prompt) in TISSUES
    except UnknownTermError as error:
        assert "closed vocabulary" in str(error)  # noqa: PT017 - either outcome is right, but only so


@pytest.mark.parametrize(
    "prompts",
    [
        [],
        [""],
        ["  "],
        ["a" * 201],
        ["tumour\0"],
        ["tum\nour"],
        ["fat"] * 65,
        ["\u202efat"],
        ["опухоль"],
        ["肿瘤"],
        ["123 %"],
        ["=1+1"],
    ],
)
def test_prompts_that_cannot_be_meant_are_refused(prompts: list[str], slide: Embeddings) -> None:
    with pytest.raises(PromptError):
        ask(slide, prompts)


def test_an_answer_adds_up(slide: Embeddings, features: NDArray[np.float32]) -> None:
    answer = ask(slide, ["lymphocytes", "tumour"])
    shares = TissueHead.load().shares(features.astype(np.float16))
    assert (answer.k, answer.mpp, answer.closed_vocabulary) == (13, 0.5, True)
    assert answer.note.startswith("Closed vocabulary")
    assert "research use only" in answer.notice.casefold()
    for one, name in zip(answer.prompts, ("immune_cells", "tumour"), strict=True):
        share = shares[:, TISSUES.index(name)]
        assert one.meaning == name
        assert np.array_equal(one.probability, share)
        assert one.score == pytest.approx(np.sort(share)[-13:].mean(), rel=1e-6)
        tile_mm2 = 0.112**2
        assert one.share_area_mm2 == pytest.approx(share.sum(dtype=float) * tile_mm2, rel=1e-6)
        assert one.area_mm2 == pytest.approx((shares.argmax(axis=1) == TISSUES.index(name)).sum() * tile_mm2)
        shown = [tile.index for tile in one.top]
        assert set(shown) <= set(np.argsort(-share, kind="stable")[:50].tolist())
        assert shown == sorted(shown, key=lambda k: -share[k])
        assert shown[0] == share.argmax()
        assert (one.top[0].x, one.top[0].y) == tuple(slide.coords(0.5)[one.top[0].index])
        order = np.argsort(one.raw)
        assert len(order) == N


def test_areas_of_all_tissues_are_all_tissue(slide: Embeddings) -> None:
    answer = ask(slide, TISSUES)
    whole = N * 0.112**2
    assert sum(one.area_mm2 for one in answer.prompts) == pytest.approx(whole)
    assert sum(one.share_area_mm2 or 0 for one in answer.prompts) == pytest.approx(whole, rel=1e-5)


def test_a_small_slide_has_fewer_than_k_tiles(slide: Embeddings) -> None:
    answer = ask(slide, ["fat"], 1.0)
    assert answer.k == 4
    assert answer.prompts[0].score == pytest.approx(answer.prompts[0].probability.mean(), rel=1e-6)
    assert len(answer.prompts[0].top) == 4


def test_top_tiles_do_not_overlap(
    tmp_path: Path, features: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {"family": "builtin", **TissueHead.load().card["encoder"]}
    embeddings = write_embeddings(tmp_path, {0.5: features[:100]}, made)
    halved = embeddings.coords(0.5) // 2  # as if tiles overlapped by half
    monkeypatch.setattr(Embeddings, "coords", lambda *_: halved)
    top = ask(embeddings, ["fat"]).prompts[0].top
    assert len(top) > 1
    for i, one in enumerate(top):
        for other in top[:i]:
            assert abs(one.x - other.x) >= 448 or abs(one.y - other.y) >= 448


def test_the_document_is_json(slide: Embeddings) -> None:
    answer = ask(slide, ["fat", "muscle"])
    short = json.loads(json.dumps(answer.to_json(), allow_nan=False))
    assert short["tiles"] == N
    assert short["closed_vocabulary"] is True
    assert short["provenance"]["embeddings_fingerprint"] == slide.fingerprint
    assert short["provenance"]["tissue_head_digest"] == TissueHead.load().weights_digest
    assert "probability" not in short["prompts"][0]


def test_the_head_refuses_what_it_was_not_trained_on(
    slide: Embeddings, tmp_path: Path, features: NDArray[np.float32]
) -> None:
    with pytest.raises(ContractError, match=r"trained at 0\.5, 1 um/px, not at 2"):
        ask(slide, ["fat"], 2.0)
    changed = {**slide.encoder, "weights_digest": "0" * 64}
    with pytest.raises(ContractError, match="weights digest differs"):
        ask(write_embeddings(tmp_path, {0.5: features[:3]}, changed), ["fat"])


def ask_the_pair(pair: TextEncoder, out: Path, prompts: list[str]) -> tuple[Embeddings, Answer]:
    rows = np.random.default_rng(8).normal(size=(40, pair.spec.dim))
    embeddings = write_embeddings(out, {1.0: rows}, made_by(pair))
    return embeddings, ask(embeddings, prompts, encoder=pair)


def test_an_image_text_pair_is_asked_by_cosine_and_temperature(pair: TextEncoder, tmp_path: Path) -> None:
    embeddings, answer = ask_the_pair(pair, tmp_path, ["a mitosis", "necrosis"])
    rows = embeddings.features(1.0).astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    contrast = contrast_set()
    own, others = (
        text_features(pair, words, contrast.templates) for words in (["a mitosis", "necrosis"], contrast.contrast)
    )
    for k, one in enumerate(answer.prompts):
        rivals = [i for i, name in enumerate(contrast.contrast) if name != one.prompt]
        assert len(rivals) == len(contrast.contrast) - k  # necrosis is not weighed against itself
        cosine = rows @ own[k]
        powers = np.exp(pair.logit_scale * np.column_stack([cosine, rows @ others[rivals].T]))
        assert np.allclose(one.raw, cosine, atol=1e-5)
        assert np.allclose(one.probability, powers[:, 0] / powers.sum(axis=1), atol=1e-5)
        assert one.share_area_mm2 is None
    assert not answer.closed_vocabulary
    assert answer.to_json()["provenance"]["tissue_head_digest"] is None


def test_one_prompt_does_not_change_another(pair: TextEncoder, tmp_path: Path) -> None:
    _, alone = ask_the_pair(pair, tmp_path, ["a mitosis"])
    _, beside = ask_the_pair(pair, tmp_path, ["blood", "a mitosis"])
    assert np.allclose(alone.prompts[0].probability, beside.prompts[1].probability, atol=1e-6)


def test_features_of_the_default_encoder_are_asked_by_their_own_head(
    tmp_path: Path, features: NDArray[np.float32], slide: Embeddings
) -> None:
    head = TissueHead.for_encoder(DEFAULT_ENCODER)
    made = write_embeddings(tmp_path, {0.25: features}, {"family": "adapted", **head.card["encoder"]})
    answer = ask(made, ["lymphocytes"])
    shares = head.shares(features.astype(np.float16))
    assert np.array_equal(answer.prompts[0].probability, shares[:, TISSUES.index("immune_cells")])
    assert answer.provenance["tissue_head_digest"] == head.weights_digest
    assert answer.provenance["tissue_head_digest"] != ask(slide, ["fat"]).provenance["tissue_head_digest"]


def test_only_the_pair_that_made_the_features_may_ask(pair: TextEncoder, tmp_path: Path, slide: Embeddings) -> None:
    embeddings, _ = ask_the_pair(pair, tmp_path / "e", ["blood"])
    with pytest.raises(ContractError, match="needs the text side of 'open_clip:tiny'"):
        ask(embeddings, ["blood"])
    other = load_encoder(TINY_PAIR, write_tiny_pair(tmp_path / "other", seed=1))
    assert isinstance(other, TextEncoder)
    for wrong in (slide, embeddings):
        with pytest.raises(ContractError, match="made by"):
            ask(wrong, ["blood"], encoder=other)


def test_word_lists_are_read_strictly() -> None:
    with pytest.raises(RegistryError, match="two tissues"):
        read_vocabulary({name: ["blood"] if name in {"vessel", "haemorrhage"} else [] for name in TISSUES})
    with pytest.raises(RegistryError, match="twelve"):
        read_vocabulary({"tumour": []})
    for text in ("templates = ['{}']", "templates = []\ncontrast = ['a']", "templates = ['x']\ncontrast = ['a']", "="):
        with pytest.raises(RegistryError):
            read_contrast(text)
    assert replace(read_contrast("templates = ['{}.']\ncontrast = ['a']"), contrast=()).templates == ("{}.",)
