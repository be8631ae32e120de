"""Encoders whose networks stand in a package of their authors, which is not on PyPI and which the user installs.

Their packages build the network; the weights are ours to check and to load, as everywhere: none of them is let near the
file. The other rows of the table that come here cannot be run, and say why.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from foundation.checkpoint import load_exactly, read_state
from foundation.errors import ContractError, UnsupportedEncoderError
from foundation.naming import State
from foundation.outside_words import OutsidePair, Texts, Vocabulary, conch_words, musk_words, package
from foundation.readiness import REASONS
from foundation.spec import EncoderSpec
from foundation.torch_encoder import TorchEncoder
from foundation.torchvision_shim import import_beside
from foundation.weights import locate

Names = tuple[str, ...]


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
    module = package(builder.module, row)
    path = locate(key, weights, row)
    state, digest = read_state(path, row.weights_sha256, row.state_key, row.state_prefix)
    network = _Network(builder.build(module, row, state, builder.needed), builder.encode)
    if builder.side is None:
        return TorchEncoder(row, network, digest)
    words = partial(builder.side.vocabulary, row, path.parent)
    return OutsidePair(row, network, digest, builder.side.texts, words)


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


class _Network(nn.Module):
    """A network of others, and which of its features are meant."""

    def __init__(self, model: nn.Module, encode: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.model = model
        self.encode = encode

    def forward(self, images: Tensor) -> Tensor:
        return self.encode(self.model, images)


def _conch(factory: Any, spec: EncoderSpec, state: State, needed: Names) -> nn.Module:  # noqa: ANN401  # no types
    shape = json.loads((Path(factory.CFG_DIR) / f"{spec.arch}.json").read_text(encoding="utf-8"))
    shape["vision_cfg"]["image_size"] = spec.px
    shape.pop("custom_text", None)
    model: nn.Module = factory.CoCa(**shape)
    factory.resize_pos_embed(state, model)
    _fill(model, state, spec.key, needed)
    return model


def _musk(_: object, spec: EncoderSpec, state: State, needed: Names) -> nn.Module:
    # Importing its package told timm of the architecture.
    model: nn.Module = import_beside("timm").create_model(spec.arch)
    _fill(model, state, spec.key, needed)
    return model


def _fill(model: nn.Module, state: State, key: str, needed: Names) -> None:
    # Files lack, or have beyond need, the tensors of towers and heads that nothing goes through.
    wanted = model.state_dict()
    spare = {name: tensor for name, tensor in wanted.items() if name not in state and not name.startswith(needed)}
    load_exactly(model, spare | {name: tensor for name, tensor in state.items() if name in wanted}, key)


@dataclass(frozen=True, slots=True)
class _TextSide:
    """How a pair is asked for texts, which keeps both sides projected and of length 1."""

    texts: Texts
    vocabulary: Vocabulary


@dataclass(frozen=True, slots=True)
class _Builder:
    """How a family is built: the module that must be there, what is done with it, which features are meant."""

    module: str
    build: Callable[[Any, EncoderSpec, State, Names], nn.Module]
    needed: Names
    """What names of tensors begin with that the file must have."""
    encode: Callable[[Any, Tensor], Tensor]
    side: _TextSide | None = None


_MUSK = {"out_norm": True, "ms_aug": False}
_MUSK_PAIR = {"with_head": True, "return_global": True, **_MUSK}
BUILDERS = {
    # Before the contrastive projection, not normalised: what its authors advise for everything but retrieval.
    "conch": _Builder(
        "conch.open_clip_custom.factory",
        _conch,
        ("visual.",),
        lambda net, x: net.encode_image(x, proj_contrast=False, normalize=False),
    ),
    "conch_pair": _Builder(
        "conch.open_clip_custom.factory",
        _conch,
        ("visual.", "text.", "logit_scale"),
        lambda net, x: net.encode_image(x, proj_contrast=True, normalize=True),
        _TextSide(lambda net, words: net.encode_text(words, normalize=True), conch_words),
    ),
    # One scale, before the head, of length 1.
    "musk": _Builder("musk.modeling", _musk, ("beit3.",), lambda net, x: net(image=x, with_head=False, **_MUSK)[0]),
    "musk_pair": _Builder(
        "musk.modeling",
        _musk,
        ("beit3.", "vision_head.", "language_head.", "logit_scale"),
        lambda net, x: net(image=x, **_MUSK_PAIR)[0],
        _TextSide(lambda net, words, mask: net(text_description=words, padding_mask=mask, **_MUSK_PAIR)[1], musk_words),
    ),
}
