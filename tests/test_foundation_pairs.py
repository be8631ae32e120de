"""Image-text pairs of the table: both towers, projection and temperature come from one file, in its authors' names.

As in test_foundation_conformance.py, networks are small and features are worked out here by other means.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import types
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import gelu, linear, normalize

from foundation import (
    ContractError,
    Encoder,
    EncoderSpec,
    MissingWeightsError,
    TextEncoder,
    UnsupportedEncoderError,
    WeightsMismatchError,
    list_encoders,
    load_encoder,
)
from foundation.bert import BertShape
from foundation.encoders import bert_pair
from foundation.registry import _families
from foundation.testing import TINY_PAIR, write_tiny_pair
from foundation.testing_networks import check_features, made_state, write_state
from foundation.torchvision_shim import import_beside

State = dict[str, Tensor]
ROWS = {spec.key: spec for spec in list_encoders()}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "lung", "tumour", "fat", ",", "adeno", "##carcinoma"]


def rows(*families: str) -> list[str]:
    return [key for key, spec in ROWS.items() if spec.family in families]


def load(spec: EncoderSpec, path: Path) -> Encoder:
    return _families()[spec.family]()(spec.key, path, dataclasses.replace(spec, weights_sha256=None))


def tiles_of(spec: EncoderSpec) -> NDArray[np.uint8]:
    coarse = np.random.default_rng(11).integers(0, 256, (2, 7, 7, 3), np.uint8)
    side = spec.tile_px
    return np.ascontiguousarray(coarse.repeat(-(-side // 7), 1).repeat(-(-side // 7), 2)[:, :side, :side])


def seen_by(encoder: Encoder, tiles: NDArray[np.uint8]) -> Tensor:
    return cast("Tensor", cast("Any", encoder).network_input(tiles))


# ---- open_clip


def whole_clip(arch: str) -> Any:  # noqa: ANN401  # open_clip ships no types
    with torch.device("meta"):
        return import_beside("open_clip").create_model(arch, load_weights=False, pretrained_text=False, device="meta")


@pytest.mark.parametrize("arch", sorted({ROWS[key].arch for key in rows("open_clip")}))
def test_a_whole_pair_has_the_width_and_the_context_of_its_rows(arch: str) -> None:
    model = whole_clip(arch)
    for spec in (ROWS[key] for key in rows("open_clip") if ROWS[key].arch == arch):
        assert model.encode_image(torch.empty(1, 3, spec.px, spec.px, device="meta")).shape == (1, spec.dim)
        assert import_beside("open_clip").get_tokenizer(arch).context_length == spec.text["context"]


def small_clip(arch: str, folder: Path) -> str:
    """The architecture with towers of one narrow layer, known to open_clip by another name."""
    library = import_beside("open_clip")
    config = library.get_model_config(arch)
    config["vision_cfg"] |= {"layers": 1, "width": 32, "head_width": 16}
    config["text_cfg"] |= {"layers": 1, "width": 32, "heads": 2}
    if "multimodal_cfg" in config:
        config["multimodal_cfg"] |= {"layers": 1, "width": 32, "heads": 2}
    path = folder / f"small-{arch}.json"
    path.write_text(json.dumps(config))
    library.add_model_config(path)
    return path.stem


def hf_clip(state: State) -> State:
    """Names and shapes of transformers' CLIPModel."""
    found: State = {"text_model.embeddings.position_ids": torch.arange(77)[None]}
    inner = {"attn.out_proj": "self_attn.out_proj", "ln_": "layer_norm", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}
    outer = {
        "visual.class_embedding": "vision_model.embeddings.class_embedding",
        "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
        "visual.conv1.": "vision_model.embeddings.patch_embedding.",
        "visual.ln_pre.": "vision_model.pre_layrnorm.",
        "visual.ln_post.": "vision_model.post_layernorm.",
        "visual.transformer.resblocks.": "vision_model.encoder.layers.",
        "transformer.resblocks.": "text_model.encoder.layers.",
        "token_embedding.": "text_model.embeddings.token_embedding.",
        "positional_embedding": "text_model.embeddings.position_embedding.weight",
        "ln_final.": "text_model.final_layer_norm.",
    }
    for name, tensor in state.items():
        new = next((name.replace(old, by) for old, by in outer.items() if name.startswith(old)), name)
        for old, by in inner.items():
            new = new.replace(old, by) if "encoder.layers" in new else new
        if "in_proj_" in new:
            parts = zip("qkv", tensor.chunk(3), strict=True)
            found |= {new.replace("attn.in_proj_", f"self_attn.{part}_proj."): piece.clone() for part, piece in parts}
        elif name in {"visual.proj", "text_projection"}:
            found[{"visual.proj": "visual_projection.weight"}.get(name, "text_projection.weight")] = tensor.T
        else:
            found[new] = tensor
    return found


@pytest.mark.parametrize("key", sorted({ROWS[key].arch: key for key in rows("open_clip")}.values()))
def test_pairs_of_open_clip(key: str, tmp_path: Path) -> None:
    spec = dataclasses.replace(ROWS[key], arch=small_clip(ROWS[key].arch, tmp_path))
    library = import_beside("open_clip")
    model = library.create_model(spec.arch, load_weights=False).eval()
    state = made_state({name: tensor.shape for name, tensor in model.state_dict().items()})
    model.load_state_dict(state)
    written = hf_clip(state) if spec.state_names == "hf-clip" else state
    pair = load(spec, write_state(written, tmp_path / (spec.file or "model.bin")))
    tiles, words = tiles_of(spec), ["tumour", "fat"]
    with torch.inference_mode():
        check_features(pair, tiles, model.encode_image(seen_by(pair, tiles), normalize=False))
        texts = model.encode_text(library.get_tokenizer(spec.arch)(words), normalize=True)
    assert isinstance(pair, TextEncoder)
    assert np.abs(pair.encode_text(words) - texts.numpy()).max() < 1e-5
    assert pair.logit_scale == pytest.approx(float(state["logit_scale"].exp()))


@pytest.mark.parametrize(
    "change", [{"quick_gelu": True}, {"embed_dim": 64}, {"vision_cfg": {"layers": 2}}, {"text_cfg": 3}]
)
def test_a_folder_that_says_it_is_another_architecture_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    config = import_beside("open_clip").get_model_config("ViT-B-32")
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config | change}))
    with pytest.raises(ContractError, match="another architecture"):
        load(ROWS["quiltnet"], write_state({"a": torch.zeros(1)}, tmp_path / "open_clip_pytorch_model.bin"))


def test_a_folder_that_says_it_is_the_same_is_read(tmp_path: Path) -> None:
    config = import_beside("open_clip").get_model_config("ViT-B-32") | {"quick_gelu": False}
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    with pytest.raises(WeightsMismatchError, match="not those of 'quiltnet'"):
        load(ROWS["quiltnet"], write_state({"a": torch.zeros(1)}, tmp_path / "open_clip_pytorch_model.bin"))


def _changed(folder: Path, tower: str, **other: object) -> Path:
    """A small pair with more to say about one of its towers."""
    config = json.loads((write_tiny_pair(folder) / "open_clip_config.json").read_text())
    config["model_cfg"][tower] |= other
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ("tower", "other"),
    [
        ("text_cfg", {"hf_model_name": "lab/words"}),
        ("vision_cfg", {"timm_model_name": "hf-hub:lab/net"}),
        ("vision_cfg", {"timm_model_name": "local-dir:/net"}),
    ],
)
def test_a_folder_that_builds_from_elsewhere_is_refused(tower: str, other: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="stands elsewhere"):
        load_encoder(TINY_PAIR, _changed(tmp_path, tower, **other))


def test_a_folder_cannot_allow_its_code_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}
    library = types.SimpleNamespace(from_pretrained=lambda _place, **how: asked.update(how))
    monkeypatch.setitem(sys.modules, "transformers", types.SimpleNamespace(AutoTokenizer=library))
    words = {"hf_tokenizer_name": "lab/words", "tokenizer_kwargs": {"trust_remote_code": True}}
    load_encoder(TINY_PAIR, _changed(tmp_path, "text_cfg", **words))
    assert (asked["trust_remote_code"], asked["local_files_only"]) == (False, True)


# ---- pairs with a BERT


@pytest.mark.parametrize("key", rows("bert_pair"))
def test_a_whole_pair_with_a_bert_has_the_width_of_its_row(key: str) -> None:
    spec, pair = ROWS[key], bert_pair.architecture(ROWS[key]).eval()
    assert pair(torch.empty(1, 3, spec.px, spec.px, device="meta")).shape == (1, spec.dim)
    words = torch.ones(1, int(spec.text["context"]), dtype=torch.long, device="meta")
    assert pair.texts(words).shape == (1, spec.dim)


@pytest.fixture
def small_bert(monkeypatch: pytest.MonkeyPatch) -> BertShape:
    shape = BertShape(words=len(WORDS), width=48, inner=64, heads=4, layers=1)
    monkeypatch.setattr(bert_pair, "PUBMED", shape)
    return shape


def small_pair(key: str) -> EncoderSpec:
    kwargs = ROWS[key].kwargs | {"depth": 1, "embed_dim": 48, "num_heads": 4}
    return dataclasses.replace(ROWS[key], kwargs=kwargs, dim=48)


def bert_file(spec: EncoderSpec, folder: Path) -> tuple[State, Path]:
    pair = bert_pair.architecture(spec)
    state = made_state({name: tensor.shape for name, tensor in pair.state_dict().items()})
    keep = spec.state_names == "keep"
    written = {(n.replace(".gamma", ".weight") if ".ls" in n else n) if keep else n: t for n, t in state.items()}
    inside = "text" if keep else "text.transformer"
    written |= {f"{inside}.embeddings.position_ids": torch.arange(512)[None]}
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    return state, write_state(written, folder / spec.file)


@pytest.mark.usefixtures("small_bert")
@pytest.mark.parametrize("key", rows("bert_pair"))
def test_pairs_with_a_bert(key: str, tmp_path: Path) -> None:
    spec = small_pair(key)
    state, path = bert_file(spec, tmp_path)
    pair, tiles = load(spec, path), tiles_of(spec)
    trunk = "visual." if spec.state_names == "keep" else "visual.trunk."
    tower = import_beside("timm").create_model(spec.arch, num_classes=0, **spec.kwargs).eval()
    tower.load_state_dict({name.removeprefix(trunk): t for name, t in state.items() if name.startswith(trunk)})
    with torch.inference_mode():
        features = tower(seen_by(pair, tiles))
        if spec.state_names == "keep":
            inner = gelu(linear(features, state["visual_head.0.weight"], state["visual_head.0.bias"]))
            expected = normalize(linear(inner, state["visual_head.2.weight"], state["visual_head.2.bias"]), dim=-1)
        else:
            expected = features @ state["visual.head.proj.weight"].T
    check_features(pair, tiles, expected)
    assert isinstance(pair, TextEncoder)
    texts = pair.encode_text(["Lung, adenocarcinoma", "fat", "lung , adenocarcinoma"])
    assert texts.shape == (3, spec.dim)
    assert np.abs(np.linalg.norm(texts, axis=1) - 1).max() < 1e-5
    assert np.array_equal(texts[0], texts[2])
    assert not np.allclose(texts[0], texts[1])
    assert pair.logit_scale == pytest.approx(float(state["logit_scale"].exp()))


@pytest.mark.usefixtures("small_bert")
def test_images_need_no_vocabulary_and_texts_say_that_they_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = small_pair("keep")
    _, path = bert_file(spec, tmp_path)
    (tmp_path / "vocab.txt").unlink()
    pair = cast("TextEncoder", load(spec, path))
    assert pair.encode(tiles_of(spec)).shape == (2, spec.dim)
    with pytest.raises(MissingWeightsError, match="no text can be read"):
        pair.encode_text(["fat"])
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(UnsupportedEncoderError, match=r"oncoscope\[text\]"):
        pair.encode_text(["fat"])


@pytest.mark.usefixtures("small_bert")
def test_a_pair_of_other_names_is_refused(tmp_path: Path) -> None:
    _, path = bert_file(small_pair("keep"), tmp_path)
    with pytest.raises(WeightsMismatchError):
        load(small_pair("biomedclip"), path)
