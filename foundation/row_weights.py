"""Weights of encoders of our own, whose row of the table says everything about them."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from foundation.checkpoint import read_state
from foundation.errors import RegistryError
from foundation.spec import EncoderSpec
from foundation.weights import locate


def read_row(key: str, weights: Path | None, spec: EncoderSpec | None) -> tuple[EncoderSpec, dict[str, Tensor], str]:
    """Read the weights of an encoder that only its row of the table describes.

    Args:
        key: Its name.
        weights: A file of the caller's, or None for the one that the row names.
        spec: Its row.

    Returns:
        The row, and what `read_state` gives: tensors by name, and the file's SHA-256.

    Raises:
        RegistryError: If the table has no row for it.
    """
    if spec is None:
        raise RegistryError(f"Encoder {key!r} needs a row in the table of encoders.")
    return spec, *read_state(locate(key, weights, spec), spec.weights_sha256)
