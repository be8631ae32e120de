"""The candidates for the default encoder, as encoders, and what they make of patches."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks._default_judging import Floats
from foundation import Encoder, list_encoders, load_encoder
from foundation.encoders import small
from foundation.spec import EncoderSpec
from foundation.torch_encoder import TorchEncoder
from tools._default_data import Image, resized

BATCH = 16
SMALL, ADAPTED = "tissue-small", "tissue-lite0"
PARTS: dict[str, tuple[str, ...]] = {
    "mean_colour": ("mean_colour",),
    "random_small": ("random_small",),
    "handcrafted": ("handcrafted",),
    "lite0": ("lite0",),
    "small": ("small",),
    "adapted_lite0": ("adapted_lite0",),
    "handcrafted+lite0": ("handcrafted", "lite0"),
    "handcrafted+small": ("handcrafted", "small"),
    "lite0+small": ("lite0", "small"),
    "handcrafted+adapted_lite0": ("handcrafted", "adapted_lite0"),
}
"""Candidates by name; a combination sets the features of its parts side by side."""
CONTROLS = frozenset({"mean_colour", "random_small"})
"""What any candidate must beat; neither can be the default."""
TRAINED = frozenset({"small", "adapted_lite0"})
"""Parts that were trained on the patches."""


def row(key: str) -> EncoderSpec:
    """The row of the table of encoders with a key."""
    return next(spec for spec in list_encoders() if spec.key == key)


class MeanColour:
    """The mean of each colour: what any encoder must beat."""

    def __init__(self, like: EncoderSpec) -> None:
        self.spec = dataclasses.replace(like, key="mean_colour", dim=3)
        self.weights_digest = hashlib.sha256(b"mean colour").hexdigest()

    @property
    def preprocessing_digest(self) -> str:
        """SHA-256 of the preprocessing."""
        return self.spec.preprocessing_digest

    def encode(self, tiles: NDArray[np.uint8]) -> Floats:
        """Mean colours [B, 3]."""
        return np.asarray(tiles.mean(axis=(1, 2), dtype=np.float32), np.float32)


def random_small(like: EncoderSpec) -> TorchEncoder:
    """The small network with random weights: what its training must beat."""
    torch.manual_seed(0)
    return TorchEncoder(dataclasses.replace(like, key="random_small"), small.architecture(), "0" * 64)


def part(name: str) -> Encoder:
    """One encoder.

    Args:
        name: Of a part in `PARTS`.

    Returns:
        The encoder.
    """
    if name == "mean_colour":
        return MeanColour(row(SMALL))
    if name == "random_small":
        return random_small(row(SMALL))
    keys = {"handcrafted": "handcrafted", "lite0": "builtin", "small": SMALL, "adapted_lite0": ADAPTED}
    return load_encoder(keys[name])


def embed(encoder: Encoder, patches: Image, threads: int = 2) -> Floats:
    """Features of whole patches, each brought to the side that the encoder is fed.

    Args:
        encoder: Any.
        patches: [N, 150, 150, 3].
        threads: Batches at once.

    Returns:
        [N, D].
    """
    side = encoder.spec.tile_px

    def batch(first: int) -> Floats:
        return encoder.encode(np.stack([resized(image, side) for image in patches[first : first + BATCH]]))

    with ThreadPoolExecutor(threads) as pool:
        return np.concatenate(list(pool.map(batch, range(0, len(patches), BATCH))))


def core_speed(encoder: Encoder, patches: Image) -> float:
    """Tiles a second of processor time of one thread, by its fastest batch; tiles are ready in memory.

    Processor time is wall time where the core is free, and does not count others that are at work on it.
    """
    return BATCH / _fastest(encoder, patches, time.thread_time)


def speed(encoder: Encoder, patches: Image, threads: int) -> float:
    """Tiles a second of wall time on that many threads, by each one's fastest batch."""
    with ThreadPoolExecutor(threads) as pool:
        return sum(BATCH / span for span in pool.map(lambda _: _fastest(encoder, patches), range(threads)))


def _fastest(encoder: Encoder, patches: Image, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of the fastest of 15 batches, after one to warm up."""
    tiles = np.stack([resized(image, encoder.spec.tile_px) for image in patches[:BATCH]])
    spans = []
    for _ in range(16):
        start = clock()
        encoder.encode(tiles)
        spans.append(clock() - start)
    return min(spans[1:])
