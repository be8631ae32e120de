"""Run a torch image model on tiles, always with the same bits; read its weights without running what is in them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from io import BufferedReader
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from foundation.errors import ContractError, WeightsMismatchError
from foundation.spec import EncoderSpec
from foundation.weights import checked_digest

_WRAPPERS = ("state_dict", "model")
_PARALLEL = "module."


class TorchEncoder:
    """An image model as an encoder, in float32 on the CPU.

    Inside a call one core works, so the bits cannot depend on how many there are; to use several, call from several
    threads (torch releases the interpreter lock). Each calling thread is pinned to one torch thread and stays so.

    Args:
        spec: What it is.
        module: Takes normalised images [B, 3, px, px], gives features [B, dim].
        weights_digest: SHA-256 of the weights file.
    """

    def __init__(self, spec: EncoderSpec, module: nn.Module, weights_digest: str) -> None:
        self.spec = spec
        self.weights_digest = weights_digest
        self._module = module.eval().requires_grad_(requires_grad=False)
        self._module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks this form
        # (x / 255 - mean) / std as one multiply-add on the bytes.
        self._scale = torch.tensor([1 / (255 * s) for s in spec.std]).view(1, 3, 1, 1)
        self._shift = torch.tensor([-m / s for m, s in zip(spec.mean, spec.std, strict=True)]).view(1, 3, 1, 1)

    @property
    def preprocessing_digest(self) -> str:
        """SHA-256 of the preprocessing, 64 hex digits."""
        return self.spec.preprocessing_digest

    def network_input(self, tiles: NDArray[np.uint8]) -> Tensor:
        """What the network sees.

        Args:
            tiles: RGB tiles [B, px, px, 3].

        Returns:
            Normalised images [B, 3, px, px], float32, channels last in memory.

        Raises:
            ContractError: If the tiles have another shape or kind.
        """
        side = self.spec.px
        if tiles.dtype != np.uint8 or tiles.ndim != 4 or tiles.shape[1:] != (side, side, 3):
            raise ContractError(
                f"Encoder {self.spec.key!r} takes RGB tiles of {side} x {side} bytes, not {tiles.dtype} {tiles.shape}."
            )
        images = torch.from_numpy(np.require(tiles, requirements=["C", "W"])).permute(0, 3, 1, 2)
        return torch.addcmul(self._shift, images, self._scale)

    def encode(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Encode a batch; may be called from several threads at once.

        Args:
            tiles: RGB tiles [B, px, px, 3].

        Returns:
            Features [B, dim].
        """
        one_thread()
        with torch.inference_mode():
            features: Tensor = self._module(self.network_input(tiles))
        return np.asarray(features.float().numpy(), np.float32)


def one_thread() -> None:
    """Pin torch to one core in the calling thread: sums split over cores have other last bits."""
    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)


def read_state(path: Path, sha256: str | None) -> tuple[dict[str, Tensor], str]:
    """Read a checkpoint of plain tensors; nothing that stands in it is run.

    Args:
        path: A safetensors file, or a torch checkpoint.
        sha256: The digest it must have, checked before anything is unpacked; None where any will do.

    Returns:
        Tensors by name (without the prefix of data-parallel training) in float32 where they are floating, and the
        file's SHA-256.

    Raises:
        WeightsMismatchError: If the digest differs or the file is no plain checkpoint.
    """
    with path.open("rb") as file:
        digest = checked_digest(file, sha256)
        state: object = _read(file)
    for wrapper in _WRAPPERS:
        if isinstance(state, Mapping) and isinstance(state.get(wrapper), Mapping):
            state = state[wrapper]
    if not isinstance(state, Mapping) or not state or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsMismatchError("The weights file is a file of torch, but not a checkpoint of named tensors.")
    return {str(k).removeprefix(_PARALLEL): v.float() if v.is_floating_point() else v for k, v in state.items()}, digest


def _read(file: BufferedReader) -> object:
    # Told apart by content, not by name.
    start = file.read(9)
    file.seek(0)
    try:
        if start[8:] == b"{":
            return safetensors.torch.load(file.read())
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsMismatchError(
            "The weights file is no plain checkpoint: it is damaged, of another kind, or holds code, which never runs."
        ) from error


def load_exactly(module: nn.Module, state: Mapping[str, Tensor], key: str) -> None:
    """Fill a module with weights; every tensor must find its place.

    Args:
        module: The architecture.
        state: Tensors by name.
        key: The encoder's name, for messages.

    Raises:
        WeightsMismatchError: If a tensor is missing, left over or of another shape.
    """
    wanted = module.state_dict()
    missing, extra = wanted.keys() - state.keys(), state.keys() - wanted.keys()
    reshaped = {name for name in wanted.keys() & state.keys() if wanted[name].shape != state[name].shape}
    if missing or extra or reshaped:
        raise WeightsMismatchError(
            f"The weights are not those of {key!r}: {len(missing)} tensors are missing, {len(extra)} have no place and "
            f"{len(reshaped)} have another shape (of {len(wanted)})."
        )
    if not all(bool(torch.isfinite(t).all()) for t in state.values() if t.is_floating_point()):
        raise WeightsMismatchError(f"The weights of {key!r} hold values that are not numbers.")
    module.load_state_dict(dict(state), strict=True)


def as_scale(logarithm: Tensor) -> float:
    """The temperature of a contrastive pair, from the logarithm its checkpoint stores.

    Args:
        logarithm: A tensor of one number.

    Returns:
        Its exponential.
    """
    return math.exp(float(logarithm))
