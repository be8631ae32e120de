"""Rows of the table with a network of their own, those that packages of others build, and those that are refused.

As in test_foundation_conformance.py, networks are small and features are worked out here by other means.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import gelu, linear

from foundation import Encoder, EncoderSpec, UnsupportedEncoderError, WeightsMismatchError, list_encoders
from foundation.encoders import mettle
from foundation.registry import _families
from foundation.testing_networks import check_features, made_state, write_state
from foundation.torchvision_shim import import_beside

ROWS = {spec.key: spec for spec in list_encoders()}
REFUSED = ("gemma", "kronos", "seal", "transformers")
OURS = ("builtin", "adapted", "small", "handcrafted")
PROVEN = ("timm", "open_clip", "bert_pair", "mettle", "conch", "musk", "conch_pair", "musk_pair", *OURS, *REFUSED)


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


def test_every_row_is_proven_somewhere() -> None:
    assert {spec.family for spec in ROWS.values()} == set(PROVEN)


def test_mettle_refines_the_class_token_and_not_the_patches(tmp_path: Path) -> None:
    spec = ROWS["mettle"]
    assert mettle.Network(spec).to("meta")(torch.empty(1, 3, 224, 224, device="meta")).shape == (1, spec.dim)
    spec = dataclasses.replace(spec, kwargs=spec.kwargs | {"depth": 1, "embed_dim": 96}, dim=192)
    network = mettle.Network(spec)
    state = made_state({name: tensor.shape for name, tensor in network.state_dict().items()})
    encoder, tiles = load(spec, write_state(state, tmp_path / spec.file)), tiles_of(spec)
    with torch.inference_mode():
        tokens = cast("Any", encoder).network.module.backbone.forward_features(seen_by(encoder, tiles))
        token, part = tokens[:, 0], {name: tensor for name, tensor in state.items() if name.startswith("head.")}
        mixed, shift = (
            linear(
                gelu(linear(token, part[f"head.{n}.0.weight"], part[f"head.{n}.0.bias"])), part[f"head.{n}.2.weight"]
            )
            + part[f"head.{n}.2.bias"]
            for n in ("mix", "shift")
        )
        changes = [token @ down @ up.T for down, up in zip(part["head.P"], part["head.Q"], strict=True)]
        refined = token + shift + sum(mixed[:, [k]] * change for k, change in enumerate(changes))
    check_features(encoder, tiles, torch.cat([refined, tokens[:, 5:].mean(dim=1)], dim=1))


class Colours(nn.Module):
    """What stands in for networks of others: mean colours, through a layer of the name that is needed."""

    def __init__(self, **shape: object) -> None:
        super().__init__()
        self.shape = shape
        self.visual, self.beit3, self.text = nn.Linear(3, 512), nn.Linear(3, 1024), nn.Linear(1, 1)

    def encode_image(self, x: Tensor, *, proj_contrast: bool, normalize: bool) -> Tensor:
        assert not proj_contrast
        assert not normalize
        return cast("Tensor", self.visual(x.mean(dim=(2, 3))))

    def forward(self, image: Tensor, *, with_head: bool, out_norm: bool, ms_aug: bool) -> tuple[Tensor, None]:
        assert (with_head, out_norm, ms_aug) == (False, True, False)
        return self.beit3(image.mean(dim=(2, 3))), None


@pytest.mark.parametrize("key", rows("conch", "musk"))
def test_packages_of_others_build_and_we_load(key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ROWS[key]
    name = "conch.open_clip_custom.factory" if spec.family == "conch" else "musk.modeling"
    package = ModuleType(name)
    package.__dict__.update(CoCa=Colours, CFG_DIR=tmp_path, resize_pos_embed=lambda *_: None)
    monkeypatch.setitem(sys.modules, name, package)
    for parent in ("conch", "conch.open_clip_custom", "musk"):
        monkeypatch.setitem(sys.modules, parent, ModuleType(parent))
    monkeypatch.setattr(import_beside("timm"), "create_model", lambda _: Colours())
    (tmp_path / f"{spec.arch}.json").write_text(json.dumps({"vision_cfg": {"image_size": 1}, "custom_text": True}))
    layer = "visual" if spec.family == "conch" else "beit3"
    whole = made_state({f"{layer}.weight": (spec.dim, 3), f"{layer}.bias": (spec.dim,), "another.head": (3,)})
    encoder, tiles = load(spec, write_state(whole, tmp_path / spec.file)), tiles_of(spec)
    means = seen_by(encoder, tiles).mean(dim=(2, 3))
    check_features(encoder, tiles, means @ whole[f"{layer}.weight"].T + whole[f"{layer}.bias"])
    del whole[f"{layer}.bias"]
    with pytest.raises(WeightsMismatchError, match="1 tensors are missing"):
        load(spec, write_state(whole, tmp_path / spec.file))


@pytest.mark.parametrize("key", rows("conch", "conch_pair", "musk", "musk_pair"))
def test_a_package_that_is_not_there_is_named(key: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedEncoderError, match=f"package {ROWS[key].requires[0]} of its authors"):
        load(ROWS[key], tmp_path)


@pytest.mark.parametrize("key", rows(*REFUSED))
def test_rows_that_cannot_run_say_why(key: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedEncoderError, match=r"code|language model|markers|low-rank|without the library"):
        load(ROWS[key], tmp_path)
