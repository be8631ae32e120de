"""Our towers take the checkpoints of transformers, and compute what that library does with them.

Its answers stand in tests/golden/transformers.json, made once by tools/reference_features.py.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import conv2d

from foundation import EncoderSpec, RegistryError, WeightsMismatchError, list_encoders
from foundation.bert import Bert, BertShape
from foundation.checkpoint import load_exactly
from foundation.layers import ConvStem, resolved
from foundation.naming import CONVENTIONS, renamed
from foundation.pooling import Pooled, pool
from foundation.testing import made_tensor
from foundation.timm_build import architecture, refitted
from foundation.torchvision_shim import import_beside

GOLDEN = json.loads((Path(__file__).parent / "golden" / "transformers.json").read_text())["cases"]
SMALL = {"patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 4, "dynamic_img_size": True}
SWIGLU = {"init_values": 1.0, "mlp_layer": "SwiGLUPacked", "act_layer": "SiLU", "mlp_ratio": 5.5}
TOWERS: dict[str, dict[str, Any]] = {
    "hf-vit": {"norm_layer": "LayerNorm1e-12", "mlp_ratio": 2.0},
    "hf-dinov2": {"init_values": 1.0},
    "hf-dinov2, SwiGLU": SWIGLU,
    "hf-dinov2, larger grid": {"init_values": 1.0},
    "hf-dinov2, registers": SWIGLU | {"reg_tokens": 4, "no_embed_class": True},
}


def close(found: Tensor, expected: list[list[float]]) -> bool:
    return bool(np.abs(found.detach().numpy() - np.array(expected)).max() < 2e-5)


def made(case: dict[str, Any]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(made_tensor(name, shape)) for name, shape in case["shapes"].items()}


def small(kwargs: dict[str, Any], names: str) -> EncoderSpec:
    row = next(spec for spec in list_encoders() if spec.key == "uni")
    kept = {"pooling": "cls+mean", "prefix_tokens": 1 + kwargs.get("reg_tokens", 0), "px": 32, "dim": 64}
    return dataclasses.replace(row, kwargs=SMALL | kwargs, state_names=names, **kept)


def image() -> Tensor:
    return torch.from_numpy(made_tensor("image", (1, 3, 32, 32)))


@pytest.mark.parametrize("case", TOWERS)
def test_image_towers_compute_what_transformers_does(case: str) -> None:
    spec = small(TOWERS[case], case.partition(",")[0])
    module = architecture(spec)
    load_exactly(module, refitted(renamed(made(GOLDEN[case]), spec.state_names), module, spec), case)
    with torch.inference_mode():
        features = Pooled(module.eval(), spec.pooling, spec.prefix_tokens)(image())
    assert close(features, GOLDEN[case]["features"])


def test_clip_computes_what_transformers_does(tmp_path: Path) -> None:
    library, case = import_beside("open_clip"), GOLDEN["hf-clip"]
    vision = {"image_size": 32, "layers": 2, "width": 32, "head_width": 8, "patch_size": 8, "mlp_ratio": 2.0}
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 4, "layers": 2, "mlp_ratio": 2.0}
    config = {"embed_dim": 16, "quick_gelu": True, "vision_cfg": vision, "text_cfg": text}
    (tmp_path / "made-clip.json").write_text(json.dumps(config))
    library.add_model_config(tmp_path / "made-clip.json")
    model = library.create_model("made-clip", load_weights=False)
    load_exactly(model, renamed(made(case), "hf-clip"), "made-clip")
    with torch.inference_mode():
        assert close(model.eval().encode_image(image()), case["images"])
        assert close(model.encode_text(torch.tensor(case["words"])), case["texts"])


@pytest.mark.parametrize(("pooler", "answer"), [(True, "pooled"), (False, "first")])
def test_bert_computes_what_transformers_does(*, pooler: bool, answer: str) -> None:
    case = GOLDEN["bert"]
    bert = Bert(BertShape(words=100, width=32, inner=64, heads=4, layers=2), pooler=pooler)
    load_exactly(bert, {name: t for name, t in made(case).items() if pooler or not name.startswith("pooler.")}, "bert")
    with torch.inference_mode():
        assert close(bert.eval()(torch.tensor(case["words"])), case[answer])


def test_attention_that_lacks_a_part_is_refused() -> None:
    state = made(GOLDEN["hf-vit"])
    del state["encoder.layer.1.attention.attention.key.bias"]
    with pytest.raises(WeightsMismatchError, match="parts of its attention"):
        renamed(state, "hf-vit")


def test_names_nobody_has_described_are_refused() -> None:
    with pytest.raises(RegistryError, match="hf-clip"):
        renamed({}, "hf-klip")


def test_two_tensors_of_one_name_are_refused() -> None:
    one = torch.zeros(1)
    with pytest.raises(WeightsMismatchError, match="same name"):
        renamed({"blocks.0.3.norm1.weight": one, "blocks.1.3.norm1.weight": one}, "dinov2")


def test_low_rank_changes_are_added_once_and_only_in_pairs() -> None:
    generator = np.random.default_rng(4)

    def drawn(*shape: int) -> NDArray[np.float32]:
        return np.asarray(generator.standard_normal(shape), np.float32)

    weight, down, up = drawn(6, 5), drawn(2, 5), drawn(6, 2)
    layer = "base_model.model.blocks.0.attn.proj"
    state = {f"{layer}.base_layer.weight": weight, f"{layer}.lora_A.default.weight": down}
    alone = {name: torch.from_numpy(array) for name, array in state.items()}
    assert len(renamed(alone, "lora")) == 2  # and so load_exactly finds one that has no place
    whole = renamed(alone | {f"{layer}.lora_B.default.weight": torch.from_numpy(up)}, "lora")
    assert list(whole) == ["blocks.0.attn.proj.weight"]
    assert np.allclose(whole["blocks.0.attn.proj.weight"], weight + 8 * up @ down, atol=1e-5)


def test_every_row_has_names_that_are_described() -> None:
    assert {spec.state_names for spec in list_encoders()} <= {"", *CONVENTIONS}


def test_the_stem_of_ctranspath_keeps_rows_and_columns_apart() -> None:
    stem = ConvStem(img_size=32, embed_dim=16).eval()
    state = {name: torch.from_numpy(made_tensor(name, t.shape)) for name, t in stem.state_dict().items()}
    load_exactly(stem, state | {name: torch.tensor(0) for name in state if name.endswith("tracked")}, "stem")
    hidden = image()
    for conv, norm in (("0", "1"), ("3", "4")):
        part = {name.removeprefix(f"proj.{norm}."): tensor for name, tensor in state.items()}
        hidden = conv2d(hidden, state[f"proj.{conv}.weight"], stride=2, padding=1)
        moved = hidden - part["running_mean"].view(1, -1, 1, 1)
        scaled = moved / (part["running_var"] + 1e-5).sqrt().view(1, -1, 1, 1) * part["weight"].view(1, -1, 1, 1)
        hidden = (scaled + part["bias"].view(1, -1, 1, 1)).clamp(min=0)
    expected = conv2d(hidden, state["proj.6.weight"], state["proj.6.bias"])
    with torch.inference_mode():
        tokens = stem(image())
    assert tokens.shape == (1, 8, 8, 16)
    assert np.allclose(tokens[0, 2, 5], expected[0, :, 2, 5], atol=1e-5)
    with pytest.raises(RegistryError, match="4 x 4"):
        ConvStem(patch_size=8)


def test_layers_nobody_knows_are_refused() -> None:
    assert resolved({"depth": 3, "act_layer": "SiLU"}) == {"depth": 3, "act_layer": torch.nn.SiLU}
    with pytest.raises(RegistryError, match="SwiGLUPacked"):
        resolved({"mlp_layer": "torch.nn.Linear"})


@pytest.mark.parametrize(("how", "prefix"), [("max", 1), ("cls", 0), ("cls+mean", 0)])
def test_poolings_that_make_no_sense_are_refused(how: str, prefix: int) -> None:
    with pytest.raises(RegistryError, match="cannot be pooled"):
        pool(torch.zeros(1, 5, 3), how, prefix)


def test_registers_that_the_network_does_not_have_are_refused() -> None:
    spec = small({"reg_tokens": 4}, "")
    with pytest.raises(RegistryError, match="has 5 tokens"):
        Pooled(architecture(spec), "mean", 1)
