"""Image models of timm: any architecture (`timm:<arch>`), or a row of the table with its own recipe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from torch import nn

from foundation.checkpoint import load_exactly, read_state
from foundation.errors import ContractError
from foundation.naming import renamed
from foundation.pooling import Pooled
from foundation.spec import EncoderSpec, Triple
from foundation.timm_build import architecture, built, refitted, require_known, without_classifier
from foundation.torch_encoder import TorchEncoder
from foundation.torchvision_shim import import_beside
from foundation.weights import locate

PREFIX = "timm:"


def load(key: str, weights: Path | None, spec: EncoderSpec | None) -> TorchEncoder:
    """Load an image model of timm from a weights file.

    Args:
        key: `timm:<arch>`, or the key of a table row whose `arch` names the architecture.
        weights: Its checkpoint, in the names that the row states or in timm's; a classifier in it is left out.
        spec: Its row of the table, or None to take timm's own word for preprocessing.

    Returns:
        The encoder.
    """
    require_known((spec.arch if spec else key).removeprefix(PREFIX))
    path = locate(key, weights, spec)
    if spec is None:
        state, digest = read_state(path, None)
        module = built(key.removeprefix(PREFIX))
        spec = describe(key, module)
    else:
        state, digest = read_state(path, spec.weights_sha256, spec.state_key, spec.state_prefix)
        module = architecture(spec)
        state = refitted(renamed(state, spec.state_names), module, spec)
    load_exactly(module, without_classifier(state, module), key)
    return TorchEncoder(spec, Pooled(module, spec.pooling, spec.prefix_tokens), digest)


def describe(key: str, module: nn.Module) -> EncoderSpec:
    """What timm states about an architecture.

    Args:
        key: `timm:<arch>`.
        module: Built by timm.

    Returns:
        Its spec; no scale is stated, so none is demanded.

    Raises:
        ContractError: If it does not take square RGB images.
    """
    stated = import_beside("timm").data.resolve_data_config({}, model=module)
    channels, height, width = stated["input_size"]
    if channels != 3 or height != width:
        raise ContractError(f"Encoder {key!r} takes images of {channels} x {height} x {width}, not square RGB tiles.")
    config = cast("Mapping[str, Any]", module.pretrained_cfg)
    return EncoderSpec(
        key=key,
        family="timm",
        source="file",
        dim=int(cast("int", getattr(module, "head_hidden_size", None) or module.num_features)),
        px=int(width),
        mpp=(),
        mean=cast("Triple", tuple(map(float, stated["mean"]))),
        std=cast("Triple", tuple(map(float, stated["std"]))),
        interpolation=str(stated["interpolation"]),
        licence="as stated with the weights file",
        commercial=False,
        gated=False,
        revision="unknown",
        weights_sha256=None,
        citation="Wightman, PyTorch Image Models, doi 10.5281/zenodo.4414861",
        note=f"An architecture of timm with the user's weights; timm's tag {config.get('tag') or 'none'}.",
    )
