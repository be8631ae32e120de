"""Any image-text pair of open_clip (`open_clip:<arch>`): both towers, projection and temperature of one checkpoint."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from foundation.checkpoint import as_scale, load_exactly, read_state
from foundation.errors import ContractError, MissingWeightsError, UnknownEncoderError, WeightsMismatchError
from foundation.naming import renamed
from foundation.registry import nearest
from foundation.spec import EncoderSpec, Triple
from foundation.torch_encoder import TorchEncoder, one_thread
from foundation.torchvision_shim import import_beside
from foundation.weights import locate

PREFIX = "open_clip:"
CONFIG = "open_clip_config.json"
CHECKPOINTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
"""What open_clip calls weights in a folder, the safe kind first."""

LOCAL = {"trust_remote_code": False, "local_files_only": True}
"""How transformers may read the words of a folder, whatever the folder says of it."""

Tokenizer = Callable[[list[str]], Tensor]


class OpenClipEncoder(TorchEncoder):
    """An image tower and its text tower as one pair that cannot be misused.

    Args:
        spec: What it is.
        model: A CLIP of open_clip, with its weights.
        weights_digest: SHA-256 of the weights file.
        tokenizer: The one that belongs to the text tower.
    """

    def __init__(self, spec: EncoderSpec, model: nn.Module, weights_digest: str, tokenizer: Tokenizer) -> None:
        super().__init__(spec, _ImageTower(model), weights_digest)
        self._model = model
        self._tokenizer = tokenizer
        self.logit_scale = as_scale(cast("Tensor", model.logit_scale))

    def encode_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode prompts.

        Args:
            texts: T prompts.

        Returns:
            Features [T, dim] of length 1.
        """
        one_thread()
        with torch.inference_mode():
            device = cast("Tensor", self._model.logit_scale).device
            features = cast("Any", self._model).encode_text(self._tokenizer(list(texts)).to(device), normalize=True)
        return np.asarray(features.float().cpu().numpy(), np.float32)


class _ImageTower(nn.Module):
    """Images to the space that is shared with text, projected and not yet normalised."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Encode.

        Args:
            images: Normalised images [B, 3, px, px].

        Returns:
            Features [B, dim].
        """
        features: Tensor = cast("Any", self.model).encode_image(images, normalize=False)
        return features


def load(key: str, weights: Path | None, spec: EncoderSpec | None) -> OpenClipEncoder:
    """Load an image-text pair of open_clip.

    Args:
        key: `open_clip:<arch>`, or the key of a table row.
        weights: Its checkpoint; without a row also a folder that holds `open_clip_config.json` and a checkpoint, where
            the folder says what the architecture is.
        spec: Its row of the table, or None to take open_clip's own word for preprocessing.

    Returns:
        The encoder.
    """
    return _of_row(key, weights, spec) if spec else _of_user(key, weights)


def _of_row(key: str, weights: Path | None, spec: EncoderSpec) -> OpenClipEncoder:
    library = import_beside("open_clip")
    _require_known(spec.arch, library)
    path = locate(key, weights, spec)
    config = library.get_model_config(spec.arch)
    _require_same(path.parent / CONFIG, config, key)
    state, digest = read_state(path, spec.weights_sha256, spec.state_key, spec.state_prefix)
    model, tokenizer = _build(library, spec.arch, config, key)
    load_exactly(model, _completed(renamed(state, spec.state_names), model), key)
    return OpenClipEncoder(spec, model, digest, tokenizer)


def _of_user(key: str, weights: Path | None) -> OpenClipEncoder:
    library = import_beside("open_clip")
    arch = key.removeprefix(PREFIX)
    folder = weights if weights is not None and weights.is_dir() else None
    if folder is None:
        _require_known(arch, library)
    path = locate(key, weights if folder is None else _checkpoint(key, folder))
    config = library.get_model_config(arch) if folder is None else _model_config(folder / CONFIG, key)
    model, tokenizer = _build(library, arch if folder is None else f"local-dir:{folder}", config, key)
    state, digest = read_state(path, None)
    load_exactly(model, _completed(state, model), key)
    return OpenClipEncoder(_describe(key, model), model, digest, tokenizer)


def _require_same(config: Path, ours: dict[str, Any], key: str) -> None:
    # Many weights fit two architectures, such as those with either GELU. A lone checkpoint says nothing.
    if not config.is_file():
        return
    if _shape(_model_config(config, key)) != _shape(ours):
        raise ContractError(f"The folder of {key!r} has a {CONFIG} of another architecture than the table states.")


def _shape(config: dict[str, Any]) -> tuple[object, ...]:
    # As open_clip reads it, so that what is stated and what is left to a default are alike.
    towers = import_beside("open_clip.model")
    try:
        vision, text = towers.CLIPVisionCfg(**config["vision_cfg"]), towers.CLIPTextCfg(**config["text_cfg"])
        return config["embed_dim"], bool(config.get("quick_gelu")), vision, text
    except (KeyError, TypeError):
        return ()


def _require_known(arch: str, library: ModuleType) -> None:
    known = library.list_models()
    if arch not in known:
        raise UnknownEncoderError(f"open_clip has no architecture {arch[:80]!r}; {nearest(arch, known)}.")


def _checkpoint(key: str, folder: Path) -> Path:
    # Only a folder that says what it holds: the architecture is not guessed from the tensors.
    _model_config(folder / CONFIG, key)
    for name in CHECKPOINTS:
        if (folder / name).is_file():
            return folder / name
    raise MissingWeightsError(f"The weights folder of {key!r} holds none of {', '.join(CHECKPOINTS)}.")


def _model_config(path: Path, key: str) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))["model_cfg"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsMismatchError(f"The weights folder of {key!r} has no {CONFIG} of open_clip.") from error


def _require_own(config: dict[str, Any], key: str) -> dict[str, Any]:
    # Towers that are built from what others keep are refused; what comes back is how the words may be read.
    text, vision = (part if isinstance(part := config.get(name), dict) else {} for name in ("text_cfg", "vision_cfg"))
    if text.get("hf_model_name") or ":" in str(vision.get("timm_model_name")):
        raise ContractError(f"A tower of {key!r} is described by what stands elsewhere; nothing is fetched for it.")
    return LOCAL if text.get("hf_tokenizer_name") else {}


def _build(library: ModuleType, name: str, config: dict[str, Any], key: str) -> tuple[nn.Module, Tokenizer]:
    # Empty, and nothing is fetched. That it is empty, which open_clip warns of, is true for a moment only.
    words = _require_own(config, key)
    root = logging.getLogger()
    root.addFilter(_is_news)
    try:
        model = library.create_model(name, load_weights=False, pretrained_text=False)
        return model, library.get_tokenizer(name, **words)
    except (RuntimeError, ImportError, OSError, ValueError, TypeError) as error:
        raise ContractError(f"The architecture of {key!r} cannot be built here: {type(error).__name__}.") from error
    finally:
        root.removeFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    return not record.getMessage().endswith("Model initialized randomly.")


def _completed(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Buffers that follow from the architecture, such as the mask of a text tower, are in some checkpoints only."""
    derived, wanted = ("attn_mask", "position_ids"), model.state_dict()
    own = {name: tensor for name, tensor in wanted.items() if name.endswith(derived)}
    return own | {name: tensor for name, tensor in state.items() if name in wanted or not name.endswith(derived)}


def _describe(key: str, model: nn.Module) -> EncoderSpec:
    # open_clip states no scale, so none is demanded.
    visual = cast("Any", model).visual
    stated = cast("dict[str, Any]", visual.preprocess_cfg)
    size = stated["size"]
    height, width = (size, size) if isinstance(size, int) else size
    if height != width:
        raise ContractError(f"Encoder {key!r} takes images of {height} x {width}, not square tiles.")
    return EncoderSpec(
        key=key,
        family="open_clip",
        source="file",
        dim=_width(model, int(width)),
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
        citation="Ilharco et al., OpenCLIP, doi 10.5281/zenodo.5143773",
        note="An architecture of open_clip with the user's weights.",
    )


def _width(model: nn.Module, px: int) -> int:
    """Features of a tile, by looking: open_clip's towers state it in different places."""
    with torch.inference_mode():
        return int(cast("Any", model.eval()).encode_image(torch.zeros(1, 3, px, px)).shape[-1])
