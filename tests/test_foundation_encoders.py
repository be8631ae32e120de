"""Encoders: all families pass the conformance kit, and only the right weights get in."""

from __future__ import annotations

import argparse
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from foundation import (
    Encoder,
    MissingWeightsError,
    TextEncoder,
    UnknownEncoderError,
    WeightsMismatchError,
    list_encoders,
    load_encoder,
)
from foundation.checkpoint import load_exactly, read_state
from foundation.encoders import builtin
from foundation.testing import TINY_PAIR, TINY_TIMM, EncoderConformance, write_tiny_pair, write_tiny_timm
from foundation.torch_encoder import TorchEncoder
from foundation.weights import locate

WRITES_A_FILE = b"cbuiltins\nexec\n(S\"open({path!r}, 'w').close()\"\ntR."
"""A pickle, protocol 0, that writes a file when it is unpickled."""


@pytest.fixture(scope="session")
def timm_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_timm(tmp_path_factory.mktemp("timm") / "weights.safetensors")


@pytest.fixture(scope="session")
def pair_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="session")
def built_in() -> Encoder:
    return load_encoder("builtin")


class TestBuiltin(EncoderConformance):
    @pytest.fixture(autouse=True)
    def _given(self, built_in: Encoder) -> None:
        self.encoder = built_in

    def make(self) -> Encoder:
        return self.encoder


class TestTimm(EncoderConformance):
    @pytest.fixture(autouse=True)
    def _given(self, timm_weights: Path) -> None:
        self.weights = timm_weights

    def make(self) -> Encoder:
        return load_encoder(TINY_TIMM, self.weights)


class TestOpenClip(EncoderConformance):
    @pytest.fixture(autouse=True)
    def _given(self, pair_folder: Path) -> None:
        self.folder = pair_folder

    def make(self) -> Encoder:
        return load_encoder(TINY_PAIR, self.folder)


class ThreadyKit(EncoderConformance):
    """An encoder with the defects the kit is there for: it leans on its neighbours and takes any tile."""

    def make(self) -> Encoder:
        class Leaning:
            spec = list_encoders()[0]
            weights_digest = preprocessing_digest = "0" * 64

            def encode(
                self, tiles: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
            ) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
                flat = tiles.reshape(len(tiles), -1)[:, : self.spec.dim].astype(np.float32)
                return np.asarray(flat - flat.mean(axis=0), np.float32)

        return Leaning()


@pytest.mark.parametrize("defect", ["test_a_tile_does_not_depend_on_its_company", "test_other_tiles_are_refused"])
def test_the_kit_finds_the_defects_it_is_there_for(defect: str) -> None:
    with pytest.raises(AssertionError):
        getattr(ThreadyKit(), defect)()


def test_the_faster_network_computes_what_timm_does(built_in: Encoder) -> None:
    spec = built_in.spec
    plain = builtin.architecture()
    load_exactly(plain, builtin.renamed(read_state(locate("builtin", None, spec), spec.weights_sha256)[0]), "builtin")
    tiles = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), np.uint8)
    expected = TorchEncoder(spec, plain, "").encode(tiles)
    assert np.abs(built_in.encode(tiles) - expected).max() < 1e-4
    assert np.abs(expected).mean() > 0.01


def test_the_network_input_is_what_the_table_says(built_in: Encoder) -> None:
    assert isinstance(built_in, TorchEncoder)
    tiles = np.random.default_rng(1).integers(0, 256, (2, 224, 224, 3), np.uint8)
    mean, std = np.array(built_in.spec.mean), np.array(built_in.spec.std)
    expected = ((tiles / 255.0 - mean) / std).transpose(0, 3, 1, 2)
    assert np.abs(built_in.network_input(tiles).numpy() - expected).max() < 1e-6


def test_encoding_pins_the_calling_thread_to_one_core(built_in: Encoder) -> None:
    tiles = np.random.default_rng(6).integers(0, 256, (2, 224, 224, 3), np.uint8)
    pinned = built_in.encode(tiles)
    torch.set_num_threads(2)
    again = built_in.encode(tiles)
    assert torch.get_num_threads() == 1
    assert np.array_equal(again, pinned)


def test_timm_states_the_preprocessing(timm_weights: Path) -> None:
    spec = load_encoder(TINY_TIMM, timm_weights).spec
    assert (spec.px, spec.dim, spec.mpp) == (160, 64, ())
    assert spec.interpolation == "bicubic"


def test_the_text_side_belongs_to_the_image_side(pair_folder: Path) -> None:
    pair = load_encoder(TINY_PAIR, pair_folder)
    assert isinstance(pair, TextEncoder)
    texts = pair.encode_text(["tumour", "fat", "tumour"])
    assert texts.shape == (3, pair.spec.dim)
    assert np.abs(np.linalg.norm(texts, axis=1) - 1).max() < 1e-5
    assert np.array_equal(texts[0], texts[2])
    assert not np.array_equal(texts[0], texts[1])
    stored = load_file(pair_folder / "open_clip_model.safetensors")["logit_scale"]
    assert pair.logit_scale == pytest.approx(float(stored.exp()))


def test_nobody_is_told_that_weights_are_random(pair_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    load_encoder(TINY_PAIR, pair_folder)
    assert "random" not in caplog.text
    logging.getLogger().warning("news")
    assert "news" in caplog.text


def test_a_file_of_the_pair_needs_a_known_architecture(pair_folder: Path) -> None:
    with pytest.raises(UnknownEncoderError, match="ViT-B-32"):
        load_encoder("open_clip:ViT-B-33", pair_folder / "open_clip_model.safetensors")


@pytest.mark.parametrize("key", ["bultin", "timm", "timm:", "nosuch:vit", "timm:test_vat", ""])
def test_unknown_names_are_refused_with_the_nearest(key: str) -> None:
    with pytest.raises(UnknownEncoderError, match=r"builtin|timm:<arch>|test_vit"):
        load_encoder(key)


@pytest.mark.parametrize("key", [TINY_TIMM, "open_clip:ViT-B-32"])
def test_weights_are_never_random(key: str, tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match="needs a weights file"):
        load_encoder(key)
    with pytest.raises(MissingWeightsError, match="not there"):
        load_encoder(key, tmp_path / "absent.safetensors")


def test_a_folder_without_a_pair_is_refused(tmp_path: Path, pair_folder: Path) -> None:
    with pytest.raises(WeightsMismatchError, match="open_clip_config"):
        load_encoder(TINY_PAIR, tmp_path)
    shutil.copy(pair_folder / "open_clip_config.json", tmp_path)
    with pytest.raises(MissingWeightsError, match="holds none of"):
        load_encoder(TINY_PAIR, tmp_path)


def test_another_checksum_is_refused(tmp_path: Path) -> None:
    original = locate("builtin", None, list_encoders()[0]).read_bytes()
    damaged = tmp_path / "weights.pth"
    damaged.write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
    with pytest.raises(WeightsMismatchError, match="SHA-256"):
        load_encoder("builtin", damaged)


def test_code_in_a_checkpoint_never_runs(tmp_path: Path) -> None:
    marker, weights = tmp_path / "marker", tmp_path / "weights.pth"
    weights.write_bytes(WRITES_A_FILE.replace(b"{path!r}", repr(str(marker)).encode()))
    with pytest.raises(WeightsMismatchError, match="code"):
        load_encoder(TINY_TIMM, weights)
    assert not marker.exists()
    script = "import pickle, sys; pickle.loads(open(sys.argv[1], 'rb').read())"
    subprocess.run([sys.executable, "-c", script, str(weights)], check=True)
    assert marker.exists()  # so the pickle is really one that runs


@pytest.mark.parametrize(
    ("key", "said"),
    [(key, "SHA-256") for key in ("hipt", "openpath", "plip", "biomedclip")]
    + [(key, "code") for key in ("crown", "ctranspath-chief", "quiltnet-b16", "quiltnet-b16-pmb", "mettle")],
)
def test_code_in_the_file_of_a_row_never_runs(key: str, said: str, tmp_path: Path) -> None:
    marker, weights = tmp_path / "marker", tmp_path / "weights.pth"
    weights.write_bytes(WRITES_A_FILE.replace(b"{path!r}", repr(str(marker)).encode()))
    with pytest.raises(WeightsMismatchError, match=said):
        load_encoder(key, weights)
    assert not marker.exists()


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"\x10\0\0\0\0\0\0\0{not json at all"])
def test_a_file_that_is_no_checkpoint_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(content)
    with pytest.raises(WeightsMismatchError):
        load_encoder(TINY_TIMM, tmp_path / "weights.pth")


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path, pair_folder: Path) -> None:
    with pytest.raises(WeightsMismatchError, match="missing"):
        load_encoder(TINY_TIMM, pair_folder / "open_clip_model.safetensors")
    torch.save({"weight": [1, 2, 3]}, tmp_path / "list.pth")
    with pytest.raises(WeightsMismatchError, match="named tensors"):
        load_encoder(TINY_TIMM, tmp_path / "list.pth")


def test_weights_that_are_not_numbers_are_refused(tmp_path: Path, timm_weights: Path) -> None:
    state = load_file(timm_weights)
    state["norm.weight"][0] = torch.nan
    save_file(state, tmp_path / "nan.safetensors")
    with pytest.raises(WeightsMismatchError, match="not numbers"):
        load_encoder(TINY_TIMM, tmp_path / "nan.safetensors")


def test_wrapped_and_half_precision_checkpoints_load(tmp_path: Path, timm_weights: Path) -> None:
    state = {f"module.{name}": tensor.half() for name, tensor in load_file(timm_weights).items()}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "wrapped.pth")
    wrapped, plain = (load_encoder(TINY_TIMM, path) for path in (tmp_path / "wrapped.pth", timm_weights))
    tiles = np.random.default_rng(2).integers(0, 256, (2, 160, 160, 3), np.uint8)
    assert np.abs(wrapped.encode(tiles) - plain.encode(tiles)).max() < 0.05
    assert wrapped.weights_digest != plain.weights_digest
    assert wrapped.preprocessing_digest == plain.preprocessing_digest


def test_a_checkpoint_may_keep_the_arguments_of_its_training(tmp_path: Path, timm_weights: Path) -> None:
    student = {"student": {"head": torch.ones(1)}, "args": argparse.Namespace(arch="vit_small", epochs=100)}
    torch.save(student | {"teacher": load_file(timm_weights)}, tmp_path / "training.pth")
    tiles = np.random.default_rng(3).integers(0, 256, (1, 160, 160, 3), np.uint8)
    wrapped, plain = (load_encoder(TINY_TIMM, path) for path in (tmp_path / "training.pth", timm_weights))
    assert np.array_equal(wrapped.encode(tiles), plain.encode(tiles))


def test_the_part_of_a_checkpoint_that_a_row_names_must_be_there(tmp_path: Path) -> None:
    torch.save({"student": {"a": torch.ones(1)}, "teacher": {"head.a": torch.ones(1)}}, tmp_path / "training.pth")
    with pytest.raises(WeightsMismatchError, match="none of the tensors"):
        read_state(tmp_path / "training.pth", None, "teacher", "backbone.")
    with pytest.raises(WeightsMismatchError, match="not a checkpoint of named tensors"):
        read_state(tmp_path / "training.pth", None, "ema")
    assert list(read_state(tmp_path / "training.pth", None, "teacher", "head.")[0]) == ["a"]


def test_torchvision_imports_in_a_fresh_process() -> None:
    code = (
        "from foundation.torchvision_shim import import_beside as i; i('timm'); import torch, torchvision\n"
        "boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0]])\n"
        "try: print(torchvision.ops.nms(boxes, torch.ones(1), 0.5).tolist())\n"
        "except RuntimeError as error: print(str(error)[:31])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in {"[0]", "Couldn't load custom C++ ops. T"}  # it works, or it says why not
