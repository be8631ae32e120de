"""Encoders whose networks stand in a package of their authors, which is not on PyPI and which the user installs.

Their packages build the network; the weights are ours to check and to load, as everywhere: none of them is let near the
file. The other rows of the table that come here cannot be run, and say why.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from foundation.checkpoint import load_exactly, read_state
from foundation.errors import ContractError, UnsupportedEncoderError
from foundation.naming import State
from foundation.readiness import REASONS
from foundation.spec import EncoderSpec
from foundation.torch_encoder import TorchEncoder
from foundation.torchvision_shim import import_beside
from foundation.weights import locate


def load(key: str, weights: Path | None, spec: EncoderSpec | None) -> TorchEncoder:
    """Load an encoder with the package of its authors.

    Args:
        key: The key of a table row.
        weights: Its checkpoint.
        spec: The row.

    Returns:
        The encoder.
    """
    row = _possible(key, spec)
    builder = BUILDERS[row.family]
    package = _package(builder.module, row)
    state, digest = read_state(locate(key, weights, row), row.weights_sha256, row.state_key, row.state_prefix)
    return TorchEncoder(row, builder.build(package, row, state), digest)


def _possible(key: str, spec: EncoderSpec | None) -> EncoderSpec:
    if spec is None:
        raise ContractError(f"Encoder {key[:80]!r} needs a row in the table of encoders.")
    if spec.remote_code:
        raise UnsupportedEncoderError(
            f"Encoder {key!r} comes with code that would have to run; that is never done here."
        )
    if spec.family not in BUILDERS:
        raise UnsupportedEncoderError(f"Encoder {key!r} {REASONS[spec.family]}.")
    return spec


def _package(module: str, spec: EncoderSpec) -> Any:  # noqa: ANN401  # a module of a package that ships no types
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UnsupportedEncoderError(
            f"Encoder {spec.key!r} needs the package {module.partition('.')[0]} of its authors, which is not installed."
        ) from error


class _Network(nn.Module):
    """A network of others, and which of its features are meant."""

    def __init__(self, model: nn.Module, encode: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.model = model
        self.encode = encode

    def forward(self, images: Tensor) -> Tensor:
        return self.encode(self.model, images)


def _conch(factory: Any, spec: EncoderSpec, state: State) -> _Network:  # noqa: ANN401  # as above
    # Before the contrastive projection, not normalised: what its authors advise for everything but retrieval.
    shape = json.loads((Path(factory.CFG_DIR) / f"{spec.arch}.json").read_text(encoding="utf-8"))
    shape["vision_cfg"]["image_size"] = spec.px
    shape.pop("custom_text", None)
    model = factory.CoCa(**shape)
    factory.resize_pos_embed(state, model)
    _fill(model, state, spec.key, needed="visual.")
    return _Network(model, lambda net, x: net.encode_image(x, proj_contrast=False, normalize=False))


def _musk(_: object, spec: EncoderSpec, state: State) -> _Network:
    # Importing its package told timm of the architecture. One scale, before the head, of length 1.
    model = import_beside("timm").create_model(spec.arch)
    _fill(model, state, spec.key, needed="beit3.")
    return _Network(model, lambda net, x: net(image=x, with_head=False, out_norm=True, ms_aug=False)[0])


def _fill(model: nn.Module, state: State, key: str, needed: str) -> None:
    # Files lack, or have beyond need, the tensors of towers and heads that no tile goes through.
    wanted = model.state_dict()
    spare = {name: tensor for name, tensor in wanted.items() if name not in state and not name.startswith(needed)}
    load_exactly(model, spare | {name: tensor for name, tensor in state.items() if name in wanted}, key)


class _Builder:
    """How a family is built: the module that must be there, and what is done with it."""

    def __init__(self, module: str, build: Callable[[Any, EncoderSpec, State], _Network]) -> None:
        self.module = module
        self.build = build


BUILDERS = {"conch": _Builder("conch.open_clip_custom.factory", _conch), "musk": _Builder("musk.modeling", _musk)}
