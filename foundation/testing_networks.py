"""Made-up weights, files of them, and features held against others; imports torch, unlike `foundation.testing`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from foundation.encoder import Encoder
from foundation.testing import made_tensor


def made_state(shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """Weights of a network that never was trained, the same for ever.

    Args:
        shapes: Of its tensors, by name.

    Returns:
        `made_tensor` of each.
    """
    return {name: torch.from_numpy(made_tensor(name, shape)) for name, shape in shapes.items()}


def write_state(state: Mapping[str, Tensor], path: Path) -> Path:
    """Write a checkpoint.

    Args:
        state: Tensors by name.
        path: A file to be: of safetensors if it says so, else of torch.

    Returns:
        `path`.
    """
    if path.suffix == ".safetensors":
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    else:
        torch.save(dict(state), path)
    return path


def check_features(encoder: Encoder, tiles: NDArray[np.uint8], expected: Tensor, tolerance: float = 1e-4) -> None:
    """An encoder gives the features it should, twice alike, and a tile alone the same as in company.

    Args:
        encoder: Under test.
        tiles: [B, tile_px, tile_px, 3].
        expected: [B, dim], worked out by other means.
        tolerance: Largest difference, of the largest feature.
    """
    features = encoder.encode(tiles)
    np.testing.assert_equal((features.shape, features.dtype), ((len(tiles), encoder.spec.dim), np.dtype(np.float32)))
    np.testing.assert_array_equal(encoder.encode(tiles), features)
    close = tolerance * float(expected.abs().max())
    np.testing.assert_allclose(encoder.encode(tiles[:1]), features[:1], rtol=0, atol=close)
    np.testing.assert_allclose(features, expected.numpy(), rtol=0, atol=close)
