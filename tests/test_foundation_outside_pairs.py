"""Image-text pairs that packages of others build: both sides projected, of length 1, with the temperature of the file.

The packages are not here; what stands in for them takes the same arguments, and features are worked out by other means.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import normalize

from foundation import (
    ContractError,
    EncoderSpec,
    MissingWeightsError,
    TextEncoder,
    UnsupportedEncoderError,
    WeightsMismatchError,
    ask,
    list_encoders,
)
from foundation.registry import _families
from foundation.testing import write_embeddings
from foundation.testing_networks import check_features, made_state, write_state
from foundation.torchvision_shim import import_beside

ROWS = {spec.key: spec for spec in list_encoders()}
PAIRS = ("conch@zero-shot", "musk@zero-shot")
DIM, LETTERS = 16, 128
TEXTS = ["lung adenocarcinoma", "fat"]
NAMES = {
    "conch@zero-shot": ("visual.body", "visual.head", "text.words", "text.head"),
    "musk@zero-shot": ("beit3.body", "vision_head", "beit3.words", "language_head"),
}
"""Where each keeps its image tower, the projection of that, its words and their projection."""


def layers() -> tuple[nn.Module, nn.Module, nn.Module, nn.Module]:
    heads = (nn.Linear(DIM, DIM, bias=False) for _ in range(2))
    return nn.Linear(3, DIM), next(heads), nn.Embedding(LETTERS, DIM), next(heads)


class Conch(nn.Module):
    """Mean colours and mean letters, asked as CONCH is."""

    def __init__(self, **_: object) -> None:
        super().__init__()
        body, head, words, text_head = layers()
        self.visual = nn.ModuleDict({"body": body, "head": head})
        self.text = nn.ModuleDict({"words": words, "head": text_head})
        self.text_decoder = nn.Linear(1, 1)
        self.logit_scale = nn.Parameter(torch.zeros(()))

    def encode_image(self, images: Tensor, normalize: bool = True, proj_contrast: bool = True) -> Tensor:  # noqa: FBT001, FBT002
        found = self.visual["body"](images.mean(dim=(2, 3)))
        found = self.visual["head"](found) if proj_contrast else found
        return cast("Tensor", nn.functional.normalize(found, dim=-1) if normalize else found)

    def encode_text(self, text: Tensor, normalize: bool = True, embed_cls: bool = True) -> Tensor:  # noqa: FBT001, FBT002
        text = text[:, :-1] if embed_cls else text
        found = self.text["head"](self.text["words"](text).sum(dim=1))
        return cast("Tensor", nn.functional.normalize(found, dim=-1) if normalize else found)


class Musk(nn.Module):
    """The same, asked as MUSK is."""

    def __init__(self) -> None:
        super().__init__()
        body, self.vision_head, words, self.language_head = layers()
        self.beit3 = nn.ModuleDict({"body": body, "words": words})
        self.logit_scale = nn.Parameter(torch.zeros(()))

    def forward(
        self,
        image: Tensor | None = None,
        text_description: Tensor | None = None,
        padding_mask: Tensor | None = None,
        **how: bool,
    ) -> tuple[Tensor | None, Tensor | None]:
        assert how.keys() == {"return_global", "with_head", "out_norm", "ms_aug"}
        assert how["return_global"]
        assert not how["ms_aug"]
        if image is not None:
            return self._ended(self.beit3["body"](image.mean(dim=(2, 3))), self.vision_head, how), None
        assert text_description is not None
        assert padding_mask is not None
        words = self.beit3["words"](text_description) * (1 - padding_mask.unsqueeze(-1))
        return None, self._ended(words.sum(dim=1), self.language_head, how)

    @staticmethod
    def _ended(found: Tensor, head: nn.Module, how: dict[str, bool]) -> Tensor:
        found = head(found) if how["with_head"] else found
        return normalize(found, dim=-1) if how["out_norm"] else found


def conch_tokens(tokenizer: object, texts: list[str]) -> Tensor:
    assert tokenizer == "words of CONCH"
    return torch.tensor([[ord(letter) for letter in text.ljust(128, "\0")] for text in texts])


def musk_tokens(text: str, tokenizer: tuple[str], max_len: int) -> tuple[list[int], list[int]]:
    assert Path(tokenizer[0]).name == "tokenizer.spm"
    padded = [ord(letter) for letter in text.ljust(max_len, "\1")]
    return padded, [0] * len(text) + [1] * (max_len - len(text))


@pytest.fixture(autouse=True)
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents: dict[str, dict[str, object]] = {
        "conch": {},
        "conch.open_clip_custom": {},
        "conch.open_clip_custom.factory": {"CoCa": Conch, "CFG_DIR": tmp_path, "resize_pos_embed": lambda *_: None},
        "conch.open_clip_custom.custom_tokenizer": {
            "get_tokenizer": lambda: "words of CONCH",
            "tokenize": conch_tokens,
        },
        "musk": {},
        "musk.modeling": {},
        "musk.utils": {"xlm_tokenizer": musk_tokens},
        "transformers": {"XLMRobertaTokenizer": lambda path: (path,)},
    }
    for name, content in contents.items():
        module = ModuleType(name)
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(import_beside("timm"), "create_model", lambda _: Musk())
    (tmp_path / "conch_ViT-B-16.json").write_text(json.dumps({"vision_cfg": {}, "custom_text": True}))
    (tmp_path / "tokenizer.spm").touch()


def small(key: str) -> EncoderSpec:
    return dataclasses.replace(ROWS[key], weights_sha256=None, dim=DIM)


def state_of(key: str) -> dict[str, Tensor]:
    body, head, words, text_head = NAMES[key]
    shapes: dict[str, tuple[int, ...]] = {f"{body}.weight": (DIM, 3), f"{body}.bias": (DIM,)}
    shapes |= {f"{head}.weight": (DIM, DIM), f"{words}.weight": (LETTERS, DIM), f"{text_head}.weight": (DIM, DIM)}
    return made_state(shapes | {"logit_scale": (), "another.head": (3,)})


def load(key: str, state: dict[str, Tensor], folder: Path) -> TextEncoder:
    spec = small(key)
    encoder = _families()[spec.family]()(key, write_state(state, folder / spec.file), spec)
    assert isinstance(encoder, TextEncoder)
    return encoder


def tiles_of(spec: EncoderSpec) -> NDArray[np.uint8]:
    colours = np.random.default_rng(11).integers(0, 256, (3, 1, 1, 3), np.uint8)
    return np.ascontiguousarray(np.broadcast_to(colours, (3, spec.tile_px, spec.tile_px, 3)))


def texts_of(key: str, state: dict[str, Tensor], texts: Sequence[str]) -> Tensor:
    _, _, words, head = NAMES[key]
    # What fills a text up counts for CONCH here, all but the last place; for MUSK it does not.
    ends = 127 if key.startswith("conch") else 0
    sums = [state[f"{words}.weight"][[ord(x) for x in text.ljust(ends, "\0")]].sum(dim=0) for text in texts]
    return normalize(torch.stack(sums) @ state[f"{head}.weight"].T, dim=-1)


@pytest.mark.parametrize("key", PAIRS)
def test_both_sides_are_projected_and_the_temperature_is_the_file_s(key: str, tmp_path: Path) -> None:
    state, (body, head, *_) = state_of(key), NAMES[key]
    pair, tiles = load(key, state, tmp_path), tiles_of(ROWS[key])
    means = cast("Any", pair).network_input(tiles).mean(dim=(2, 3))
    inner = means @ state[f"{body}.weight"].T + state[f"{body}.bias"]
    check_features(pair, tiles, normalize(inner @ state[f"{head}.weight"].T, dim=-1))
    found = pair.encode_text(TEXTS)
    np.testing.assert_allclose(found, texts_of(key, state, TEXTS), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert pair.logit_scale == pytest.approx(float(state["logit_scale"].exp()))


@pytest.mark.parametrize("key", PAIRS)
def test_the_pair_is_asked_about_its_own_features_only(key: str, tmp_path: Path) -> None:
    pair = load(key, state_of(key), tmp_path)
    rows = pair.encode(tiles_of(ROWS[key]))
    made = {"key": key, "family": pair.spec.family, "weights_digest": pair.weights_digest}
    made["preprocessing_digest"] = pair.preprocessing_digest
    answer = ask(write_embeddings(tmp_path / "own", {0.5: rows}, made), ["a mitosis"], encoder=pair)
    assert answer.prompts[0].raw.shape == (3,)
    assert ((answer.prompts[0].probability > 0) & (answer.prompts[0].probability < 1)).all()
    unprojected = write_embeddings(tmp_path / "other", {0.5: rows}, made | {"key": key.partition("@")[0]})
    with pytest.raises(ContractError):
        ask(unprojected, ["a mitosis"], encoder=pair)


@pytest.mark.parametrize("key", PAIRS)
def test_features_of_the_pair_are_never_taken_for_those_before_the_projection(key: str) -> None:
    pair, image = ROWS[key].recipe(), ROWS[key.partition("@")[0]].recipe()
    assert {name for name in pair if pair[name] != image[name]} == {"key", "family"}


@pytest.mark.parametrize("key", PAIRS)
def test_no_side_of_a_pair_may_be_missing(key: str, tmp_path: Path) -> None:
    for name in ("logit_scale", *(f"{layer}.weight" for layer in NAMES[key])):
        state = state_of(key)
        del state[name]
        with pytest.raises(WeightsMismatchError, match="1 tensors are missing"):
            load(key, state, tmp_path)


def test_images_need_no_vocabulary_and_texts_say_that_they_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = load("musk@zero-shot", state_of("musk@zero-shot"), tmp_path)
    (tmp_path / "tokenizer.spm").unlink()
    assert pair.encode(tiles_of(pair.spec)).shape == (3, DIM)
    with pytest.raises(MissingWeightsError, match=r"no tokenizer\.spm"):
        pair.encode_text(TEXTS)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UnsupportedEncoderError, match="package transformers"):
        pair.encode_text(TEXTS)
