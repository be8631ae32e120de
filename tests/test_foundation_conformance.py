"""Every row of timm in the table: built whole without memory, and embedded small from a file as its authors write it.

Small is one block and a quarter of the width; all else is the row's own: keywords, names of tensors, wrapping, pooling.
What features should be is worked out from timm's own network, here, with other means than the product's.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import re
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from foundation import Encoder, EncoderSpec, WeightsMismatchError, list_encoders, load_encoder
from foundation.layers import resolved
from foundation.pooling import Pooled
from foundation.registry import _families
from foundation.testing import made_tensor
from foundation.timm_build import architecture
from foundation.torchvision_shim import import_beside

State = dict[str, Tensor]
ROWS = {spec.key: spec for spec in list_encoders() if spec.family == "timm"}
TENSORS = {"virchow2": 455, "h_optimus_0": 567, "uni2_h": 343, "phikon_v2": 342, "midnight": 566}
"""As many as the files that are published have; for the last two, names of transformers joined to timm's."""
NATIVE = {"dinov2": 518, "dinov2-vitb14": 518}
"""Side in pixels of the images whose positions the published file has, where the row does not say it."""


def network_of(spec: EncoderSpec) -> tuple[object, ...]:
    return spec.arch, tuple(sorted(spec.kwargs.items())), spec.px, spec.pooling, spec.prefix_tokens


WHOLE = {network_of(spec): key for key, spec in reversed(ROWS.items())}
FILES = {
    (*network_of(spec), spec.state_names, spec.state_key, spec.state_prefix, Path(spec.file).suffix): key
    for key, spec in reversed(ROWS.items())
}
"""One row for each network, and for each kind of file."""


def whole(spec: EncoderSpec) -> nn.Module:
    return architecture(spec).to("meta")


@pytest.mark.parametrize("key", WHOLE.values())
def test_the_whole_network_has_the_width_and_the_tokens_of_its_row(key: str) -> None:
    spec, module = ROWS[key], whole(ROWS[key])
    width = int(cast("int", module.num_features))
    assert spec.dim == (2 * width if spec.pooling == "cls+mean" else width)
    assert spec.pooling == "pooled" or module.num_prefix_tokens == spec.prefix_tokens
    assert len(module.state_dict()) == TENSORS.get(key, len(module.state_dict()))
    assert isinstance(module.get_submodule("fc_norm") if hasattr(module, "fc_norm") else nn.Identity(), nn.Identity)


def test_a_whole_network_gives_the_features_of_its_row() -> None:
    spec = ROWS["virchow2"]
    features = Pooled(whole(spec), spec.pooling, spec.prefix_tokens)(torch.empty(2, 3, spec.px, spec.px, device="meta"))
    assert features.shape == (2, spec.dim)


SMALLER: dict[str, tuple[dict[str, Any], int]] = {
    "resnet50": ({"layers": (1, 1, 1, 1)}, 1),
    "swin_tiny_patch4_window7_224": ({"depths": (2, 1, 1, 1), "embed_dim": 48}, 2),
}
"""Keywords that make a network shallow, and what they divide its width by."""


def small(spec: EncoderSpec) -> EncoderSpec:
    """The row, but shallow and, where it is a transformer, narrow; any checksum will do."""
    width = spec.dim // (2 if spec.pooling == "cls+mean" else 1)
    kwargs, factor = SMALLER.get(spec.arch, ({"depth": 1, "embed_dim": width // 4}, 4))
    found = dataclasses.replace(spec, kwargs=dict(spec.kwargs), dim=spec.dim // factor, weights_sha256=None)
    cast("dict[str, Any]", found.kwargs).update(kwargs)
    return found


@functools.cache
def published_network(key: str) -> nn.Module:
    """What timm builds of a row, with positions of the size in the published file and timm's own interpolation."""
    spec = small(ROWS[key])
    kwargs = resolved(spec.kwargs)
    if spec.kwargs.get("dynamic_img_size"):
        same = spec.px if spec.state_names.startswith("hf-") else spec.kwargs.get("img_size")
        side = NATIVE.get(key, same)
        kwargs |= {} if side is None else {"img_size": side}
    module: nn.Module = import_beside("timm").create_model(spec.arch, num_classes=0, **kwargs)
    return module.eval()


def state_of(key: str, seed: int = 0) -> State:
    generator = torch.Generator().manual_seed(seed)
    found: State = {}
    for name, tensor in published_network(key).state_dict().items():
        drawn = torch.randn(tensor.shape, generator=generator) / 8
        middle = float(name.endswith("running_var") or (("norm" in name or "bn" in name) and name.endswith("weight")))
        found[name] = torch.tensor(7) if name.endswith("num_batches_tracked") else middle + drawn
    return {name: t.abs() if name.endswith("running_var") else t for name, t in found.items()}


def split(state: State, whole_name: str, parts: tuple[str, ...]) -> State:
    """Queries, keys and values apart."""
    found: State = {}
    for name, tensor in state.items():
        block, cut, kind = name.partition(f".{whole_name}.")
        pieces = zip(parts, tensor.chunk(3), strict=True) if cut else [(name, tensor)]
        found |= {f"{block}.{part}.{kind}" if cut else part: piece.clone() for part, piece in pieces}
    return found


def rename(state: State, *pairs: tuple[str, str]) -> State:
    found = state
    for pattern, by in pairs:
        found = {re.sub(pattern, by, name): tensor for name, tensor in found.items()}
    return found


def with_class_position(state: State, registers: str) -> State:
    """Where timm folds the position of the class token into it, publishers with registers keep the two apart."""
    if "reg_token" not in state:
        return state
    place = torch.linspace(-1, 1, state["cls_token"].shape[-1]).view(1, 1, -1)
    rest = {name: tensor for name, tensor in state.items() if name != "reg_token"}
    positions = torch.cat([place, state["pos_embed"]], dim=1)
    return rest | {registers: state["reg_token"], "cls_token": state["cls_token"] - place, "pos_embed": positions}


def dinov2(state: State, key: str) -> State:
    chunk = r"blocks.3.\1." if key in {"openpath", "crown"} else r"blocks.\1."
    pairs = ((r"^blocks\.(\d+)\.", chunk), (r"mlp\.fc1\.", "mlp.w12."), (r"mlp\.fc2\.", "mlp.w3."))
    return rename(with_class_position(state, "register_tokens"), *pairs) | {"mask_token": torch.zeros(1, 4)}


HF_NORMS = (("norm1", "layernorm_before"), ("norm2", "layernorm_after"))


def transformers(state: State, key: str) -> State:
    apart = split(
        with_class_position(state, "embeddings.register_tokens"),
        "attn.qkv",
        tuple(f"attention.attention.{part}" for part in ("query", "key", "value")),
    )
    outer = (
        (r"^(cls_token)$", r"embeddings.\1"),
        (r"^pos_embed$", "embeddings.position_embeddings"),
        (r"^patch_embed\.proj", "embeddings.patch_embeddings.projection"),
        (r"^norm\.", "layernorm."),
        (r"\.attn\.proj\.", ".attention.output.dense."),
        (r"\.ls(\d)\.gamma", r".layer_scale\1.lambda1"),
    )
    gated = "SwiGLU" in str(ROWS[key].kwargs) or "giant" in ROWS[key].arch
    inner: tuple[tuple[str, str], ...] = (
        (("mlp.fc1", "mlp.weights_in"), ("mlp.fc2", "mlp.weights_out")) if gated else ()
    )
    if ROWS[key].state_names == "hf-vit":
        inner = (("mlp.fc1", "intermediate.dense"), ("mlp.fc2", "output.dense"), *HF_NORMS)
    unused = {"embeddings.mask_token": torch.zeros(1, 4), "pooler.dense.weight": torch.zeros(4, 4)}
    return rename(apart, *outer, *inner, (r"^blocks\.", "encoder.layer.")) | unused


def swin(state: State, key: str) -> State:
    """As timm wrote it before it moved the merging of patches, for one of the two rows; with buffers, for both."""
    moved = {
        re.sub(r"layers\.(\d)\.downsample", lambda m: f"layers.{int(m[1]) - 1}.downsample", n): t
        for n, t in state.items()
    }
    buffers = {
        "layers.0.blocks.0.attn.relative_position_index": torch.zeros(4),
        "layers.0.blocks.1.attn_mask": torch.ones(4),
    }
    return (moved if key == "ctranspath-chief" else state) | buffers


def lora(state: State, _: str) -> State:
    """Half of a matrix is kept in two thin ones, of rank 8 and so counted twice."""
    found: State = {}
    for name, tensor in state.items():
        layer, cut, kind = name.rpartition(".")
        if not re.search(r"(attn\.qkv|attn\.proj|mlp\.fc\d)$", layer):
            found[f"base_model.model.{name}"] = tensor
            continue
        found[f"base_model.model.{layer}.base_layer.{kind}"] = tensor
        if kind == "weight":
            down = torch.from_numpy(made_tensor(f"a{name}", (8, tensor.shape[1]))) / 50
            up = torch.from_numpy(made_tensor(f"b{name}", (tensor.shape[0], 8))) / 50
            found[f"base_model.model.{layer}.base_layer.{kind}"] = tensor - 2 * up @ down
            found |= {f"base_model.model.{layer}.lora_{a}.default.weight": t for a, t in (("A", down), ("B", up))}
        assert cut
    return found


NAMES = {"dinov2": dinov2, "hf-dinov2": transformers, "hf-vit": transformers, "swin": swin, "lora": lora}


def publish(state: State, key: str, folder: Path, name: str = "") -> Path:
    """Write a file as the authors of a row do."""
    spec = ROWS[key]
    named = NAMES[spec.state_names](state, key) if spec.state_names else state
    if spec.state_prefix:
        named = {f"{spec.state_prefix}{old}": t for old, t in named.items()} | {"head.last_layer": torch.zeros(1)}
    elif not spec.state_names:
        named = named | {("fc.weight" if spec.arch == "resnet50" else "head.weight"): torch.zeros(3, 3)}
    path = folder / (name or spec.file)
    if path.suffix == ".safetensors":
        save_file({old: tensor.contiguous() for old, tensor in named.items()}, path)
    elif spec.state_key:
        inside = {f"module.{old}": tensor for old, tensor in named.items()}
        torch.save({"student": {}, spec.state_key: inside, "args": argparse.Namespace(arch=spec.arch)}, path)
    else:
        torch.save({"model": named} if spec.state_names == "swin" else named, path)
    return path


def load(key: str, path: Path) -> Encoder:
    """Through the loader of the row's family, with the small row in place of the whole."""
    spec = small(ROWS[key])
    return _families()[spec.family]()(key, path, spec)


def tiles_of(spec: EncoderSpec) -> NDArray[np.uint8]:
    coarse = np.random.default_rng(7).integers(0, 256, (2, 8, 8, 3), np.uint8)
    side = spec.tile_px
    return np.ascontiguousarray(coarse.repeat(-(-side // 8), 1).repeat(-(-side // 8), 2)[:, :side, :side])


def by_definition(key: str, state: State, images: Tensor) -> NDArray[np.float32]:
    """Features by timm's own network; pooled here."""
    spec, module = ROWS[key], published_network(key)
    module.load_state_dict(state, strict=True, assign=True)
    with torch.inference_mode():
        if spec.pooling == "pooled":
            return np.asarray(module(images).numpy(), np.float32)
        tokens = cast("Any", module).forward_features(images).numpy()
    patches = (spec.px // cast("Any", module).patch_embed.patch_size[0]) ** 2
    parts = {"cls": tokens[:, 0], "mean": tokens[:, -patches:].sum(axis=1) / patches}
    return np.concatenate([parts[part] for part in spec.pooling.split("+")], axis=1)


@pytest.mark.parametrize("key", FILES.values())
def test_a_file_as_its_authors_write_it_gives_the_features_it_should(key: str, tmp_path: Path) -> None:
    state, tiles = state_of(key), tiles_of(ROWS[key])
    encoder = load(key, publish(state, key, tmp_path))
    features = encoder.encode(tiles)
    assert features.shape == (2, small(ROWS[key]).dim)
    assert features.dtype == np.float32
    assert np.array_equal(encoder.encode(tiles), features)
    expected = by_definition(key, state, cast("Any", encoder).network_input(tiles))
    scale = np.abs(expected).max()
    assert np.abs(features - expected).max() < 1e-4 * scale
    assert np.abs(encoder.encode(tiles[:1]) - features[:1]).max() < 1e-4 * scale
    assert np.abs(features[0] - features[1]).max() > 1e-3 * scale


@pytest.mark.parametrize("key", ["virchow2", "ctranspath", "hipt", "openpath", "phikon", "crisp"])
def test_other_weights_have_another_digest_and_other_features(key: str, tmp_path: Path) -> None:
    files = [publish(state_of(key, seed), key, tmp_path, f"{seed}{Path(ROWS[key].file).suffix}") for seed in (1, 2)]
    one, other = (load(key, path) for path in files)
    assert one.weights_digest != other.weights_digest
    assert one.preprocessing_digest == other.preprocessing_digest == ROWS[key].preprocessing_digest
    tiles = tiles_of(ROWS[key])[:1]
    assert not np.allclose(one.encode(tiles), other.encode(tiles))


@pytest.mark.parametrize("key", {(spec.arch[:4], spec.state_names): key for key, spec in ROWS.items()}.values())
def test_tensors_that_are_missing_left_over_or_of_another_shape_are_refused(key: str, tmp_path: Path) -> None:
    state, suffix = state_of(key), Path(ROWS[key].file).suffix
    first = next(name for name in state if name.endswith("weight") and state[name].ndim == 1)
    changes: dict[str, State] = {
        "missing": {name: tensor for name, tensor in state.items() if name != first},
        "place": state | {"blocks.99.norm1.weight": torch.zeros(3)},
        "shape": state | {first: torch.zeros(len(state[first]) + 1)},
    }
    for said, changed in changes.items():
        with pytest.raises(WeightsMismatchError, match=f"1 [a-z ]*{said}"):
            load(key, publish(changed, key, tmp_path, f"{said}{suffix}"))


@pytest.mark.parametrize(
    ("key", "of"), [("uni", "gpfm"), ("phikon", "uni"), ("hipt", "sp22m"), ("sp22m", "ctranspath")]
)
def test_the_checkpoint_of_another_row_is_refused(key: str, of: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsMismatchError):
        load(key, publish(state_of(of), of, tmp_path))


def test_the_digest_of_a_row_is_demanded(tmp_path: Path) -> None:
    path = publish(state_of("uni"), "uni", tmp_path)
    with pytest.raises(WeightsMismatchError, match="SHA-256"):
        load_encoder("uni", path)
