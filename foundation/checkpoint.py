"""Read checkpoints without running what is in them, and fill a network with nothing left over."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from io import BufferedReader
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from foundation.errors import WeightsMismatchError
from foundation.weights import checked_digest

_WRAPPERS = ("teacher", "state_dict", "model")
"""Where training scripts keep the tensors of the network; of a pair of student and teacher the teacher is meant."""
_PARALLEL = "module."


def read_state(path: Path, sha256: str | None, key: str = "", prefix: str = "") -> tuple[dict[str, Tensor], str]:
    """Read a checkpoint of plain tensors; nothing that stands in it is run.

    Args:
        path: A safetensors file, or a torch checkpoint.
        sha256: The digest it must have, checked before anything is unpacked; None where any will do.
        key: Under which the tensors stand; empty for the top, or where training scripts put them.
        prefix: What names begin with; tensors without it are left out.

    Returns:
        Tensors by name (without that prefix, nor that of data-parallel training) in float32 where they are floating,
        and the file's SHA-256.

    Raises:
        WeightsMismatchError: If the digest differs or the file is no plain checkpoint, or not one of that kind.
    """
    with path.open("rb") as file:
        digest = checked_digest(file, sha256)
        state: object = _read(file)
    for wrapper in (key,) if key else _WRAPPERS:
        if isinstance(state, Mapping) and isinstance(state.get(wrapper), Mapping):
            state = state[wrapper]
    if not isinstance(state, Mapping) or not state or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsMismatchError("The weights file is a file of torch, but not a checkpoint of named tensors.")
    plain = {str(name).removeprefix(_PARALLEL): tensor for name, tensor in state.items()}
    chosen = {
        n.removeprefix(prefix): t.float() if t.is_floating_point() else t
        for n, t in plain.items()
        if n.startswith(prefix)
    }
    if not chosen:
        raise WeightsMismatchError("The weights file has none of the tensors of the network that is needed.")
    return chosen, digest


def _read(file: BufferedReader) -> object:
    # Told apart by content, not by name.
    start = file.read(9)
    file.seek(0)
    try:
        if start[8:] == b"{":
            return safetensors.torch.load(file.read())
        # Training scripts of the DINO family keep their arguments beside the tensors. A Namespace only holds values.
        with torch.serialization.safe_globals([argparse.Namespace]):
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
    module.load_state_dict(dict(state), strict=True, assign=True)


def as_scale(logarithm: Tensor) -> float:
    """The temperature of a contrastive pair, from the logarithm its checkpoint stores.

    Args:
        logarithm: A tensor of one number.

    Returns:
        Its exponential.
    """
    return math.exp(float(logarithm))
