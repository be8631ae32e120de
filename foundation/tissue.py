"""Tissue heads: which tissues a tile is made of, read off an encoder's features. They run without torch.

Their weights and figures come from `tools/train_tissue_head.py`; what they cannot do stands in `tissue_head*.md`.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from foundation.embeddings import Embeddings
from foundation.errors import ContractError, WeightsMismatchError

TISSUES = (
    "apocrine_change",
    "haemorrhage",
    "immune_cells",
    "in_situ",
    "vessel",
    "mucinous_change",
    "necrosis",
    "giant_cancer_cells",
    "stroma",
    "tumour",
    "adipose",
    "muscle",
)
"""The twelve classes, in the order of every array with a class axis."""

HEADS = {"builtin": "tissue_head", "tissue-lite0": "tissue_head_lite0"}
"""Encoders whose features a head was trained on -> name of its weights (.safetensors) and cards (.json, .md)."""
CARD_KEYS = {
    "caveats",
    "citation",
    "command",
    "encoder",
    "figures",
    "format",
    "licence",
    "mpp",
    "names",
    "notice",
    "px",
    "title",
    "training",
    "weights_sha256",
}
ROWS = 4096
"""Tiles at a time: tens of MB of working memory however large the slide."""


@dataclass(frozen=True, slots=True)
class TissueHead:
    """A small network from features to shares of the twelve tissues."""

    names: tuple[str, ...]
    """`TISSUES`."""
    weights_digest: str
    """SHA-256 of the weights file, 64 hex digits."""
    card: dict[str, Any]
    """The model card: what it was made for and from, its figures, what it cannot do."""
    layers: tuple[tuple[NDArray[np.float64], NDArray[np.float64]], ...]
    """Weight [out, in] and bias [out] of each layer; ReLU between them."""

    @classmethod
    def load(cls) -> Self:
        """Load the head of `builtin`, whose features the demonstration and the tissue composition are made of.

        Returns:
            The head.
        """
        return cls.for_encoder("builtin")

    @classmethod
    def for_encoder(cls, key: str) -> Self:
        """Load the head that reads an encoder's features.

        Args:
            key: Of the encoder.

        Returns:
            The head; its files are read once.

        Raises:
            ContractError: If there is none.
        """
        if key not in HEADS:
            known = " and ".join(repr(name) for name in HEADS)
            raise ContractError(f"No tissue head reads features of encoder {key!r}; there is one for {known}.")
        return cls.read(*_shipped(HEADS[key]))

    @classmethod
    def fitting(cls, embeddings: Embeddings, mpp: float) -> Self:
        """Load the head that reads a slide's features.

        Args:
            embeddings: Of the slide.
            mpp: The zoom.

        Returns:
            The head. A `ContractError` says that there is none for this encoder, its weights, or this zoom.
        """
        head = cls.for_encoder(embeddings.encoder["key"])
        head.require_fit(embeddings, mpp)
        return head

    @classmethod
    def read(cls, weights: bytes, card: str) -> Self:
        """Read a head, believing nothing that the card's checksum does not confirm.

        Args:
            weights: The safetensors file.
            card: The JSON card.

        Returns:
            The head.

        Raises:
            WeightsMismatchError: If the weights are not those of the card, or the card is not well formed.
        """
        digest = hashlib.sha256(weights).hexdigest()
        try:
            document: dict[str, Any] = json.loads(card)
            tensors = load(weights) if document["weights_sha256"] == digest else {}
            count = len(tensors) // 2
            layers = tuple((_tensor(tensors, i, "weight"), _tensor(tensors, i, "bias")) for i in range(count))
        except (ValueError, KeyError, TypeError, SafetensorError) as error:
            raise WeightsMismatchError("The tissue head's files are damaged.") from error
        if set(document) != CARD_KEYS or tuple(document["names"]) != TISSUES or not _fit(layers):
            raise WeightsMismatchError("The tissue head's weights and card do not belong together.")
        return cls(TISSUES, digest, document, layers)

    def shares(self, features: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Which share of a tile's tissue each class is, as the head estimates it.

        Args:
            features: Features of the head's encoder [N, 1280].

        Returns:
            Shares [N, 12] that sum to 1 in each row.
        """
        return shares_of(self.logits(features))

    def logits(self, features: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """The head's output before softmax.

        Args:
            features: Features of the head's encoder [N, 1280].

        Returns:
            [N, 12], any real numbers.

        Raises:
            ContractError: If the features have another width.
        """
        width = self.layers[0][0].shape[1]
        if features.ndim != 2 or features.shape[1] != width:
            raise ContractError(f"The tissue head takes features [N, {width}], not {features.shape}.")
        parts = [self._forward(rows) for rows in _parts(features)]
        return np.concatenate([np.empty((0, len(self.names)), np.float32), *parts])

    def require_fit(self, embeddings: Embeddings, mpp: float) -> None:
        """Refuse features that the head was not trained on.

        Args:
            embeddings: Of a slide.
            mpp: The zoom.

        Raises:
            ContractError: If another encoder made them, or the head was not trained at that scale.
        """
        for name in ("key", "weights_digest", "preprocessing_digest"):
            if embeddings.encoder[name] != self.card["encoder"][name]:
                raise ContractError(
                    f"The tissue head reads features of encoder {self.card['encoder']['key']!r} with its own weights; "
                    f"these are of {embeddings.encoder['key']!r}, and its {name.replace('_', ' ')} differs."
                )
        if not any(abs(mpp / trained - 1) < 0.01 for trained in self.card["mpp"]):
            trained = ", ".join(f"{value:g}" for value in self.card["mpp"])
            raise ContractError(f"The tissue head was trained at {trained} um/px, not at {mpp:g}.")

    def _forward(self, rows: NDArray[np.float64]) -> NDArray[np.float32]:
        for weight, bias in self.layers[:-1]:
            rows = np.maximum(rows @ weight.T + bias, 0)
        weight, bias = self.layers[-1]
        return np.asarray(rows @ weight.T + bias, np.float32)


def shares_of(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Softmax.

    Args:
        logits: [N, C].

    Returns:
        Shares [N, C] that sum to 1 in each row.
    """
    wide = logits.astype(np.float64)
    powers = np.exp(wide - wide.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


@functools.cache
def _shipped(name: str) -> tuple[bytes, str]:
    folder = files("foundation")
    return folder.joinpath(f"{name}.safetensors").read_bytes(), folder.joinpath(f"{name}.json").read_text("utf-8")


def _tensor(tensors: dict[str, NDArray[Any]], layer: int, name: str) -> NDArray[np.float64]:
    # Double precision: what a library splits over cores then differs far below what single precision keeps.
    return tensors[f"{layer}.{name}"].astype(np.float64)


def _fit(layers: tuple[tuple[NDArray[np.float64], NDArray[np.float64]], ...]) -> bool:
    """Whether the layers follow on each other and end in the twelve classes."""
    sizes = [weight.shape for weight, _ in layers]
    chained = all(earlier[0] == later[1] for earlier, later in pairwise(sizes))
    whole = all(bias.shape == weight.shape[:1] and np.isfinite(weight).all() for weight, bias in layers)
    return bool(layers) and sizes[-1][0] == len(TISSUES) and chained and whole


def _parts(features: NDArray[np.floating[Any]]) -> Iterator[NDArray[np.float64]]:
    return (features[first : first + ROWS].astype(np.float64) for first in range(0, len(features), ROWS))
