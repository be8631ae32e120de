"""Any image model of timm (`timm:<arch>`), with the preprocessing that timm states for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn

from foundation.checkpoint import load_exactly, read_state
from foundation.errors import ContractError, UnknownEncoderError
from foundation.registry import nearest
from foundation.spec import EncoderSpec, Triple
from foundation.torch_encoder import TorchEncoder
from foundation.torchvision_shim import import_beside
from foundation.weights import locate

PREFIX = "timm:"


def load(key: str, weights: Path | None, spec: EncoderSpec | None) -> TorchEncoder:
    """Load an image model of timm from a weights file.

    Args:
        key: `timm:<arch>`, or the key of a table row whose `source` names the architecture.
        weights: Its checkpoint in timm's names; a classifier in it is left out.
        spec: Its row of the table, or None to take timm's own word for preprocessing.

    Returns:
        The encoder.

    Raises:
        UnknownEncoderError: If timm has no such architecture.
    """
    arch = (spec.source if spec else key).removeprefix(PREFIX)
    timm = import_beside("timm")
    if not timm.is_model(arch):
        raise UnknownEncoderError(f"timm has no architecture {arch[:80]!r}; {nearest(arch, timm.list_models())}.")
    path = locate(key, weights, spec)
    module: nn.Module = timm.create_model(arch, pretrained=False, num_classes=0)
    state, digest = read_state(path, spec.weights_sha256 if spec else None)
    load_exactly(module, _without_classifier(state, module), key)
    return TorchEncoder(spec or describe(key, module), module, digest)


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


def _without_classifier(state: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Leave out the layer that named classes in training; features come from before it."""
    config = cast("Mapping[str, Any]", module.pretrained_cfg)
    named = config.get("classifier") or ()
    layers = (named,) if isinstance(named, str) else tuple(named)
    kept = module.state_dict().keys()
    return {k: v for k, v in state.items() if k in kept or not k.startswith(tuple(f"{layer}." for layer in layers))}
