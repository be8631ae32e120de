"""What every encoder does, whoever wrote it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from foundation.spec import EncoderSpec


@runtime_checkable
class Encoder(Protocol):
    """Turns tiles into features. The same tiles in the same batch give the same bits, whatever the number of cores."""

    @property
    def spec(self) -> EncoderSpec:
        """What it is and what it must be fed."""

    @property
    def weights_digest(self) -> str:
        """SHA-256 of the weights file, 64 hex digits."""

    @property
    def preprocessing_digest(self) -> str:
        """SHA-256 of the preprocessing, 64 hex digits."""

    def encode(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Encode a batch; may be called from several threads at once.

        Args:
            tiles: RGB tiles [B, tile_px, tile_px, 3].

        Returns:
            Features [B, dim].
        """


@runtime_checkable
class TextEncoder(Encoder, Protocol):
    """An encoder whose features live in one space with those of words.

    Projection, normalisation and temperature belong to the pair and come from its checkpoint, so nobody can mix them.
    """

    @property
    def logit_scale(self) -> float:
        """What cosines are multiplied by before softmax."""

    def encode_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode prompts.

        Args:
            texts: T prompts.

        Returns:
            Features [T, dim] of length 1.
        """


def recipe_of(encoder: Encoder) -> dict[str, Any]:
    """What the features of a loaded encoder depend on, for the names of stores.

    Args:
        encoder: The encoder.

    Returns:
        The recipe of its row, with the digests that it has in place of those that are stated.
    """
    digests = {"weights_sha256": encoder.weights_digest, "preprocessing": encoder.preprocessing_digest}
    return encoder.spec.recipe() | digests
