"""From bags to padded, masked batches of tensors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mil.bag import Bag
from mil.errors import BagError, LabelError


def pin_threads() -> None:
    """Let torch use one thread a call from here on.

    A matrix product over two threads adds its terms in another order than over one, so the last bits of a score would
    depend on the machine. It is not undone: another thread of this process may be in the middle of its own product.
    """
    torch.set_num_threads(1)


def collate(features: Sequence[NDArray[np.float32]]) -> tuple[Tensor, Tensor]:
    """Pad bags to the longest and say where the tiles are.

    Args:
        features: One array [N_b, D] a bag.

    Returns:
        Features float32 [B, N, D], 0 at padding, and mask bool [B, N].
    """
    sizes = np.array([len(part) for part in features])
    mask = np.arange(sizes.max()) < sizes[:, None]
    if len(features) == 1:
        alone = np.require(features[0], requirements=["C", "W"])  # a view where it can be: one slide may be gigabytes
        return torch.from_numpy(alone)[None], torch.from_numpy(mask)
    padded = np.zeros((*mask.shape, features[0].shape[1]), np.float32)
    for row, part in zip(padded, features, strict=True):
        row[: len(part)] = part
    return torch.from_numpy(padded), torch.from_numpy(mask)


def check_same(bags: Sequence[Bag]) -> Bag:
    """See that bags can be learnt from together.

    Args:
        bags: Any number.

    Returns:
        The first, which stands for all.

    Raises:
        BagError: There is none, or they differ in encoder, zooms or width; names the row.
    """
    if not bags:
        raise BagError("There is no bag to learn from.")
    first = bags[0]
    for row, bag in enumerate(bags):
        if (bag.encoder, bag.mpp, bag.features.shape[1]) != (first.encoder, first.mpp, first.features.shape[1]):
            raise BagError(f"Bag {row} was made by another encoder or at other zooms than bag 0.")
    return first


def labels_of(bags: Sequence[Bag]) -> NDArray[np.float32]:
    """Collect the labels of bags.

    Args:
        bags: Labelled bags.

    Returns:
        0 or 1, float32 [B].

    Raises:
        LabelError: A label is missing or neither 0 nor 1 (names the row), or only one class is there.
    """
    for row, bag in enumerate(bags):
        if bag.label not in {0, 1}:
            raise LabelError(f"The label of bag {row} is {bag.label}; it must be 0 or 1.")
    labels = np.array([bag.label for bag in bags], np.float32)
    if len(np.unique(labels)) < 2:
        raise LabelError(f"All {len(labels)} labels are of one class; both are needed.")
    return labels
