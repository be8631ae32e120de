"""Networks of timm without weights, and checkpoints made to fit them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from foundation.errors import UnknownEncoderError
from foundation.layers import resolved
from foundation.registry import nearest
from foundation.spec import EncoderSpec
from foundation.torchvision_shim import import_beside


def require_known(arch: str) -> None:
    """Refuse an architecture that timm does not have.

    Args:
        arch: Its name.

    Raises:
        UnknownEncoderError: If timm has none of that name.
    """
    timm = import_beside("timm")
    if not timm.is_model(arch):
        raise UnknownEncoderError(f"timm has no architecture {arch[:80]!r}; {nearest(arch, timm.list_models())}.")


def architecture(spec: EncoderSpec) -> nn.Module:
    """Build the network of a row, without weights.

    Args:
        spec: The row. Where it says that positions follow the size of the image, the network is built for `px`, and
            `refitted` brings the positions of the checkpoint to it once instead of at every batch.

    Returns:
        The network, its parameters without values.
    """
    kwargs = resolved(spec.kwargs)
    if kwargs.pop("dynamic_img_size", False):
        kwargs["img_size"] = spec.px
    return built(spec.arch, kwargs)


def built(arch: str, kwargs: Mapping[str, Any] | None = None) -> nn.Module:
    """Build a network of timm without weights and without spending time on random ones.

    Args:
        arch: Its name.
        kwargs: What timm's builder takes.

    Returns:
        The network without classifier; its parameters have no values, most of them not even memory.
    """
    build = partial(import_beside("timm").create_model, arch, pretrained=False, num_classes=0, **(kwargs or {}))
    with torch.device("meta"):
        module: nn.Module = build()
    if any(name not in module.state_dict() for name, _ in module.named_buffers()):
        # Some tensors follow from the shape and stand in no checkpoint: those have to be computed.
        with _Undrawn():
            module = build()
    return module


class _Undrawn(TorchFunctionMode):
    """Leaves out the drawing of random numbers, which takes longer than reading weights; of this thread alone."""

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> object:
        del types
        named = kwargs or {}
        if getattr(func, "__name__", "") in {"uniform_", "normal_", "trunc_normal_", "erfinv_"}:
            return args[0] if args else named["tensor"]
        return func(*args, **named)


def refitted(state: dict[str, Tensor], module: nn.Module, spec: EncoderSpec) -> dict[str, Tensor]:
    """Bring positions learned on a grid of one size to the grid of the network, where the row allows it.

    Args:
        state: Tensors by timm's names.
        module: The network.
        spec: Its row; `dynamic_img_size` in its keywords allows it.

    Returns:
        The tensors, with other positions if the sizes differ.
    """
    learned, wanted = state.get("pos_embed"), module.state_dict().get("pos_embed")
    if learned is None or wanted is None or not spec.kwargs.get("dynamic_img_size") or learned.shape == wanted.shape:
        return state
    embed = cast("Any", module)
    ahead = 0 if embed.no_embed_class else embed.num_prefix_tokens
    side = round((learned.shape[1] - ahead) ** 0.5)
    if learned.ndim != 3 or learned.shape[1] != side * side + ahead:
        return state  # no square grid: load_exactly says that it does not fit
    resample = import_beside("timm").layers.resample_abs_pos_embed
    grid = list(embed.patch_embed.grid_size)
    smooth = not spec.state_names.startswith("hf-")  # transformers interpolates without, timm with antialiasing
    return state | {"pos_embed": resample(learned, new_size=grid, num_prefix_tokens=ahead, antialias=smooth)}


def without_classifier(state: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Leave out the layer that named classes in training; features come from before it.

    Args:
        state: Tensors by timm's names.
        module: The network.

    Returns:
        The other tensors. Counters of batches, which early versions of torch did not keep and nothing here needs, are
        set to zero where there are none.
    """
    config = cast("Mapping[str, Any]", module.pretrained_cfg)
    named = config.get("classifier") or ()
    layers = (named,) if isinstance(named, str) else tuple(named)
    kept = module.state_dict().keys()
    counters = {name: torch.tensor(0) for name in kept if name.endswith(".num_batches_tracked")}
    return counters | {
        k: v for k, v in state.items() if k in kept or not k.startswith(tuple(f"{layer}." for layer in layers))
    }
